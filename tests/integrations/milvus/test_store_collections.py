"""Collections that MilvusStore did not leave as it makes them: of users, released, cut short, opened again."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from milvus_lite.server_manager import server_manager_instance
from pymilvus import DataType, MilvusClient

from taskvec import Encoder
from taskvec_integrations.milvus import MilvusStore, TextCollection
from taskvec_integrations.store import Document


def with_fields(**fields: Any) -> Callable[[MilvusClient, str], None]:
    """A collection as a user made it: an auto_id INT64 key, no dynamic fields, other vectors, as any_client."""

    def make(client: MilvusClient, name: str) -> None:
        schema = client.create_schema(enable_dynamic_field=fields.get("dynamic", True))
        if fields.get("int_key"):
            schema.add_field("id", DataType.INT64, is_primary=True, auto_id=True)
        else:
            schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=64)
        schema.add_field(fields.get("vector", "vector"), DataType.FLOAT_VECTOR, dim=8)
        index = client.prepare_index_params()
        index.add_index(fields.get("vector", "vector"), index_type="FLAT", metric_type=fields.get("metric", "COSINE"))
        client.create_collection(name, schema=schema, index_params=None if fields.get("bare") else index)

    return make


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (with_fields(int_key=True), r"primary key id \(INT64, auto_id\), and this store needs a VARCHAR id without auto_id"),
        (
            with_fields(vector="embedding"),
            r"the vectors embedding \(FLOAT_VECTOR\), and this store needs floats or int8 in vector",
        ),
        (with_fields(dynamic=False), "no dynamic fields for payloads: create it with enable_dynamic_field=True"),
        (with_fields(metric="L2"), "has metric euclid; this store has metric cosine"),
        (with_fields(bare=True), "has no index on vector: create one with metric COSINE"),
    ],
    ids=["key", "vector", "dynamic", "metric", "index"],
)
def test_collections_that_a_store_cannot_use(
    plain: MilvusClient, mini: Encoder, name: str, make: Callable[[MilvusClient, str], None], message: str
) -> None:
    make(plain, name)
    with pytest.raises(ValueError, match=message):
        MilvusStore(plain, name, encoder=mini, dimensions=8).ingest(["text"])
    assert plain.has_collection(name)


def test_a_collection_of_the_user_with_typed_fields_and_other_names(plain: MilvusClient, mini: Encoder, name: str) -> None:
    texts = TextCollection(32, id_field="key", vector_field="embedding", index={"index_type": "HNSW", "params": {"M": 8}})
    schema = texts.schema()
    schema.add_field("year", DataType.INT64)
    plain.create_collection(name, schema=schema, index_params=texts.index_params())
    store = MilvusStore(plain, name, encoder=mini, dimensions=32, id_field="key", vector_field="embedding")
    report = store.ingest([Document("a", "Bread.", payload={"year": 1900, "id": "mine"}), Document("b", "No year.")])
    assert [failure.document_id for failure in report.failed] == ["b"]
    (hit,) = store.search("bread", filter="year > 1800")
    assert (hit.document_id, hit.payload) == ("a", {"year": 1900, "id": "mine"})
    np.testing.assert_allclose(
        plain.query(name, filter="year == 1900", output_fields=["embedding"])[0]["embedding"],
        mini.encode_documents("Bread.", dimensions=32),
        atol=1e-6,
    )


def test_the_record_is_there_when_the_file_is_opened_again(mini: Encoder, tmp_path: Any) -> None:
    for run in range(2):
        client = MilvusClient(str(tmp_path / "milvus.db"))
        report = MilvusStore(client, "docs", encoder=mini, dimensions=8).ingest(["One.", "Two."])
        assert report.documents.skipped == (2 if run else 0)
        with pytest.raises(ValueError, match="has dimensions 8; this store has dimensions 16"):
            MilvusStore(client, "docs", encoder=mini, dimensions=16).ingest([])
        client.close()
        server_manager_instance.release_server(str(tmp_path / "milvus.db"))


@pytest.mark.parametrize("step", ["create_index", "load_collection"])
def test_a_collection_whose_creation_was_cut_short_is_completed(
    plain: MilvusClient, mini: Encoder, name: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    store = MilvusStore(plain, name, encoder=mini, dimensions=8)
    with monkeypatch.context() as patch:
        patch.setattr(MilvusClient, step, killed)
        with pytest.raises(KeyboardInterrupt):
            store.ingest(["One."])
    assert store.ingest(["One."]).chunks.written == 1
    assert store.search("One.", 1)[0].text == "One."


def test_a_released_collection_is_loaded(plain: MilvusClient, mini: Encoder, name: str) -> None:
    MilvusStore(plain, name, encoder=mini, dimensions=8).ingest(["One."])
    plain.release_collection(name)
    assert MilvusStore(plain, name, encoder=mini, dimensions=8).search("One.", 1)[0].text == "One."
