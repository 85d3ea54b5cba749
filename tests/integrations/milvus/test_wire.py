"""What goes over the wire to a Milvus 2.6, for every precision and through every method, and what is not sent at all."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pymilvus import AnnSearchRequest, RRFRanker

from support.milvus.checks import AnyClient
from support.milvus.stub import MilvusStub, serving
from taskvec import Encoder
from taskvec_integrations.milvus import (
    AsyncTaskvecMilvusClient,
    TaskvecEmbeddingFunction,
    TaskvecMilvusClient,
    TextCollection,
)

WIRE_TYPES = {
    "float32": "FloatVector",
    "float16": "Float16Vector",
    "bfloat16": "BFloat16Vector",
    "int8": "Int8Vector",
    "binary": "BinaryVector",
}


@pytest.fixture
def stub(request: pytest.FixtureRequest) -> Iterator[MilvusStub]:
    with serving(getattr(request, "param", "v2.6.3")) as stub:
        yield stub


@pytest.fixture(params=[TaskvecMilvusClient, AsyncTaskvecMilvusClient], ids=["sync", "async"])
def any_client(request: pytest.FixtureRequest, stub: MilvusStub, mini: Encoder) -> Iterator[AnyClient]:
    client = AnyClient(request.param, stub.uri, encoder=mini, text_field="text")
    yield client
    client.close()


@pytest.fixture(params=WIRE_TYPES)
def precision(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def packed(vectors: list[Any]) -> bytes:
    return b"".join(vector if isinstance(vector, bytes) else vector.tobytes() for vector in vectors)


def test_every_precision_through_every_method(any_client: AnyClient, stub: MilvusStub, mini: Encoder, precision: str) -> None:
    embed = TaskvecEmbeddingFunction(mini, dimensions=64, precision=precision)
    any_client.create(TextCollection(64, precision), "docs")
    any_client.insert("docs", [{"id": "a", "text": "one"}, {"id": "b", "text": "", "vector": "two"}])
    any_client.upsert("docs", {"id": "a", "text": "three"})
    any_client.search("docs", ["four", "five"], anns_field="vector")
    requests = [AnnSearchRequest(["six"], "vector", {}, 2), AnnSearchRequest(["seven"], "vector", {}, 2)]
    any_client.hybrid_search("docs", requests, RRFRanker())
    expected = [
        embed.encode_documents(["one", "two"]),
        embed.encode_documents(["three"]),
        embed.encode_queries(["four", "five"]),
        embed.encode_queries(["six"]),
        embed.encode_queries(["seven"]),
    ]
    assert [sent.data for sent in stub.sent] == [packed(vectors) for vectors in expected]
    assert {(sent.field, sent.kind) for sent in stub.sent} == {("vector", WIRE_TYPES[precision])}


def test_metric_and_index_of_every_precision(any_client: AnyClient, stub: MilvusStub, precision: str) -> None:
    any_client.create(TextCollection(64, precision, description="mine"), "docs")
    metric, index = stub.indexes["vector"]["metric_type"], stub.indexes["vector"]["index_type"]
    assert metric == ("HAMMING" if precision == "binary" else "COSINE")
    assert index == {"float32": "AUTOINDEX", "binary": "BIN_FLAT"}.get(precision, "HNSW")
    schema = stub.schemas["docs"]
    assert [field.name for field in schema.fields] == ["id", "text", "vector"]
    assert (schema.enable_dynamic_field, schema.description) == (True, "mine")


def test_other_names_and_another_index(any_client: AnyClient, stub: MilvusStub) -> None:
    texts = TextCollection(
        8, vector_field="v", text_field="t", id_field="i", index={"index_type": "DISKANN"}, enable_dynamic_field=False
    )
    any_client.create(texts, "docs")
    assert stub.indexes["v"] == {"metric_type": "COSINE", "index_type": "DISKANN"}
    assert [field.name for field in stub.schemas["docs"].fields] == ["i", "t", "v"]
    assert not stub.schemas["docs"].enable_dynamic_field


def test_a_collection_is_described_once(any_client: AnyClient, stub: MilvusStub) -> None:
    any_client.create(TextCollection(64), "docs")
    any_client.search("docs", ["one"])
    described = stub.described
    for _ in range(3):
        any_client.search("docs", ["one"])
    assert stub.described == described


def test_other_arguments_go_as_they_were(any_client: AnyClient, stub: MilvusStub) -> None:
    any_client.create(TextCollection(64), "docs")
    any_client.search(
        "docs", ["one"], filter="id != 'a'", output_fields=["text"], partition_names=["p"], consistency_level="Strong"
    )
    request = stub.searches[-1]
    assert (request.dsl, list(request.output_fields), list(request.partition_names)) == ("id != 'a'", ["text"], ["p"])
    assert request.consistency_level == 0
    any_client.search("docs", ["one"], consistency_level="Eventually")
    assert stub.searches[-1].consistency_level == 3


@pytest.mark.parametrize(
    ("stub", "precision", "message"),
    [
        ("v2.5.12", "int8", r"Milvus 2\.5\.12 has no INT8_VECTOR, .* float16 or bfloat16 or binary here, .* 2\.6 or later"),
        ("v2.3.5-lite", "float16", r"Milvus 2\.3\.5 has no FLOAT16_VECTOR, .* float32 or binary here, .* 2\.4 or later"),
        ("v2.3.21", "bfloat16", r"Milvus 2\.3\.21 has no BFLOAT16_VECTOR"),
        ("milvus_lite-3.2.2", "binary", r"milvus-lite 3\.2\.2 has no BINARY_VECTOR, .* use precision float32 here"),
    ],
    indirect=["stub"],
)  # fmt: skip
def test_what_a_server_lacks_is_refused_before_anything_is_sent(
    stub: MilvusStub, any_client: AnyClient, precision: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        any_client.create(TextCollection(64, precision), "docs")
    assert not stub.schemas


@pytest.mark.parametrize("stub", ["v2.3.5"], indirect=True)
def test_hybrid_search_is_left_alone_where_there_is_no_text(stub: MilvusStub, any_client: AnyClient) -> None:
    any_client.create(TextCollection(2), "docs")
    any_client.hybrid_search("docs", [AnnSearchRequest([[1.0, 0.0]], "vector", {}, 1)], RRFRanker())
    assert np.frombuffer(stub.sent[-1].data, dtype=np.float32).tolist() == [1, 0]


@pytest.mark.parametrize("stub", ["unknown"], indirect=True)
def test_nothing_is_refused_where_the_version_is_unknown(stub: MilvusStub, any_client: AnyClient) -> None:
    any_client.create(TextCollection(64, "float16"), "docs")
    assert "docs" in stub.schemas


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimensions": 1}, "dimensions is 1: Milvus has vectors of 2 to 32768"),
        ({"dimensions": 12, "precision": "binary"}, "dimensions is 12: .* use a multiple of 8"),
        ({"dimensions": 8, "vector_field": "id"}, "two fields have the same name: id_field 'id', .* and vector_field 'id'"),
        ({"dimensions": 64, "precision": "uint8"}, "unknown precision 'uint8': Milvus stores float32, float16"),
    ],
)  # fmt: skip
def test_collections_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TextCollection(**options)


@pytest.mark.parametrize("dimensions", ["64", 64.0, True, None], ids=repr)
def test_dimensions_are_a_whole_number(dimensions: Any) -> None:
    with pytest.raises(TypeError, match=rf"dimensions is {dimensions!r}: a whole number was expected"):
        TextCollection(dimensions)
