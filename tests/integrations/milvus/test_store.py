"""What is Milvus's own in MilvusStore: the rest is the contract of every store (tests/contract)."""

import asyncio
import inspect
import re
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
from milvus_lite.server_manager import server_manager_instance
from pymilvus import AsyncMilvusClient, DataType, MilvusClient, MilvusException
from pymilvus.exceptions import DataNotMatchException, ParamError

from support.milvus.checks import on
from taskvec import Encoder
from taskvec_integrations.milvus import MilvusStore, TaskvecMilvusClient, TextCollection, backend
from taskvec_integrations.milvus.backend import quote
from taskvec_integrations.milvus.errors import reason, refused, retry_after
from taskvec_integrations.store import Document

CHUNKS = ["Marie Curie was born in Warsaw.", "She shared the Nobel Prize in Physics.", "Her daughter won another."]


@on("server")
def test_a_real_server_from_first_run_to_edit(plain: MilvusClient, mini: Encoder, name: str) -> None:
    store = MilvusStore(plain, name, encoder=mini, dimensions=64, late_chunking=True)
    documents = [Document("curie", chunks=CHUNKS, payload={"kind": "person", "year": 1867}), ("bread", "Yeast makes bread rise.")]
    report = asyncio.run(store.aingest(documents))
    assert (report.chunks.written, report.documents.failed) == (4, 0)
    (hit,) = store.search("Which prize was shared?", 1)
    vectors = mini.encode_documents(CHUNKS, dimensions=64, late_chunking=True)
    scores = vectors @ mini.encode_queries("Which prize was shared?", dimensions=64)
    assert (hit.document_id, hit.chunk, hit.payload) == ("curie", scores.argmax(), {"kind": "person", "year": 1867})
    assert hit.score == pytest.approx(float(scores.max()), abs=1e-5)
    report = store.ingest([Document("curie", chunks=CHUNKS[:2], payload={"kind": "laureate"}), documents[1]])
    assert (report.chunks.encoded, report.chunks.written, report.chunks.deleted, report.documents.skipped) == (2, 2, 1, 1)
    hits = store.search("Who?", filter='kind == "laureate"')
    assert {(hit.chunk, *hit.payload) for hit in hits} == {(0, "kind"), (1, "kind")}


@on("lite", "server-soak")
def test_what_milvus_refuses_is_named_and_the_rest_lands(plain: MilvusClient, mini: Encoder, name: str, uri: str) -> None:
    store = MilvusStore(plain, name, encoder=mini, dimensions=8, chunk_tokens=None)
    bad = [
        Document("long", f"word{' ' * 66_000}word"),
        Document("key", "text", payload={"id": 1}),
        Document("meta", "text", payload={"$meta": 1}),
        Document("huge", "text", payload={"number": 2**70}),
    ]
    strange = ['qu"ote', "apos'", "back\\slash", "new\nline", "carriage\r", "tab\t", "nul\0", "bell\a", "ünï 😀", "{a} %", " "]
    report = store.ingest([*bad, *((id, "A text.") for id in strange)])
    reasons = {failure.document_id: failure.reason for failure in report.failed}
    assert {"long", "key", "meta"} <= reasons.keys() <= {"long", "key", "meta", "huge"}  # pymilvus 2.5 stores huge numbers
    assert re.fullmatch(r"(6|1100): .*65535.*", reasons["long"])
    assert "its payload has the key 'id', which is a field of the collection: rename it" in reasons["key"]
    assert report.documents.written == len(strange) + len(bad) - len(reasons)
    again = store.ingest((id, "A text.") for id in strange)
    assert (again.documents.skipped, again.chunks.encoded) == (len(strange), 0)


@on("lite")
@pytest.mark.parametrize("call", ["delete", "second upsert"])
def test_a_run_that_ends_between_a_row_and_its_old_fields_is_made_good(
    plain: MilvusClient, mini: Encoder, name: str, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    MilvusStore(plain, name, encoder=mini, dimensions=8).ingest([Document("a", "old", payload={"gone": 1, "v": 1})])
    new = Document("a", "new", payload={"v": 2})
    upserts, upsert = [0], plain.upsert

    def gone(*args: Any, **kwargs: Any) -> Any:
        upserts[0] += 1
        if call == "delete" or upserts[0] == 2:
            raise RuntimeError("the machine is gone")
        return upsert(*args, **kwargs)

    store = MilvusStore(plain, name, encoder=mini, dimensions=8)
    with monkeypatch.context() as patch:
        patch.setattr(plain, call.removeprefix("second "), gone)
        with pytest.raises(RuntimeError, match="the machine is gone"):
            store.ingest([new])
    assert MilvusStore(plain, name, encoder=mini, dimensions=8).ingest([new]).chunks.written == 1
    (hit,) = MilvusStore(plain, name, encoder=mini, dimensions=8).search("new")
    assert (hit.text, hit.payload) == ("new", {"v": 2})


@on("lite")
def test_an_edit_without_an_old_field_that_is_refused_leaves_the_row(plain: MilvusClient, mini: Encoder, name: str) -> None:
    store = MilvusStore(plain, name, encoder=mini, dimensions=8, chunk_tokens=None)
    store.ingest([Document("a", "old", payload={"gone": 1})])
    assert store.ingest([Document("a", "long " * 20_000, payload={"v": 2})]).failed
    (hit,) = store.search("old")
    assert (hit.text, hit.payload) == ("old", {"gone": 1})


ENGINE_CALLS = set(re.findall(r"self\._client\.(\w+)\(", inspect.getsource(backend)))


@on("lite")
@pytest.mark.parametrize("indexed", [True, False], ids=["", "cut short"])
def test_no_call_waits_for_ever(
    plain: MilvusClient, mini: Encoder, name: str, monkeypatch: pytest.MonkeyPatch, indexed: bool
) -> None:
    waiting, called = set(), set()

    def watched(method: str) -> Callable[..., Any]:
        call = getattr(plain, method)

        def watch(*args: Any, **kwargs: Any) -> Any:
            called.add(method)
            if not kwargs.get("timeout"):
                waiting.add(method)
            return call(*args, **kwargs)

        return watch

    store = MilvusStore(plain, name, encoder=mini, dimensions=8)
    store.ingest([("a", "text")])
    if indexed:
        plain.drop_collection(name)
    else:
        plain.release_collection(name)
        plain.drop_index(name, "vector")
    for method in ENGINE_CALLS:
        monkeypatch.setattr(plain, method, watched(method))
    store = MilvusStore(plain, name, encoder=mini, dimensions=8)
    store.ingest([Document("a", "text", payload={"old": 1})])
    store.ingest([("a", "edited")])
    store.search("text")
    assert not waiting
    assert called >= ENGINE_CALLS - {"alter_collection_properties", "create_collection" if not indexed else "create_index"}


class Unwell(MilvusClient):
    """A client whose first upserts and flushes fail as they do in a busy cluster."""

    troubles: list[Exception]

    def upsert(self, *args: Any, **kwargs: Any) -> Any:
        if self.troubles:
            raise self.troubles.pop()
        return super().upsert(*args, **kwargs)


class RpcError(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode, details: str = "") -> None:
        self._told = code, details

    def code(self) -> grpc.StatusCode:
        return self._told[0]

    def details(self) -> str:
        return self._told[1]


def test_a_busy_server_loses_nothing(uri: str, mini: Encoder, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Unwell(uri)
    client.troubles = [
        MilvusException(8, "rate limit exceeded"),
        MilvusException(1, "service not ready[standby]"),
        RpcError(grpc.StatusCode.UNAVAILABLE),
        RpcError(grpc.StatusCode.DEADLINE_EXCEEDED),
    ]
    store = MilvusStore(client, name, encoder=mini, dimensions=8)
    monkeypatch.setattr(store.backend, "first_wait", 0.001)
    assert store.ingest([("a", "A text."), ("b", "Another.")]).chunks.written == 2
    assert not client.troubles
    client.troubles = [MilvusException(1401, "privilege not permitted")]
    with pytest.raises(MilvusException, match="privilege not permitted"):
        store.ingest([("c", "A third.")])
    client.close()


BUSY, BAD, OTHER = (0.0, False), (None, True), (None, False)


@pytest.mark.parametrize(
    ("error", "means"),
    [
        (MilvusException(2, "service unavailable"), BUSY),
        (MilvusException(grpc.StatusCode.UNAVAILABLE, "Retry run out of 75 retry times"), BUSY),
        (MilvusException(RpcError(grpc.StatusCode.UNAVAILABLE).code, "Retry run out"), BUSY),  # as pymilvus 2.5 has it
        (RpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, "too busy"), BUSY),
        (RpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, "grpc: received message larger than max (84 vs. 67)"), BAD),
        (RpcError(grpc.StatusCode.INVALID_ARGUMENT), BAD),
        (MilvusException(1100, "the length (70000) of 0th string exceeds max length"), BAD),
        (ParamError(message="wrong"), BAD),
        (DataNotMatchException(message="wrong"), BAD),
        (ValueError("its payload has the key"), BAD),
        (MilvusException(9, "quota exceeded"), OTHER),
        (MilvusException(100, "collection not found"), OTHER),
        (MilvusException(1, "Unexpected error"), OTHER),
        (RpcError(grpc.StatusCode.UNAUTHENTICATED), OTHER),
        (KeyError("x"), OTHER),
    ],
    ids=str,
)
def test_what_errors_mean(error: Exception, means: tuple[float | None, bool]) -> None:
    assert (retry_after(error), retry_after(error) is None and refused(error)) == means


def test_reasons_are_one_line() -> None:
    assert reason(MilvusException(1100, "too long")) == "1100: too long"
    assert reason(RpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, "larger than max")) == "RESOURCE_EXHAUSTED: larger than max"
    assert reason(ValueError("its payload")) == "its payload"


def with_fields(**fields: Any) -> Callable[[MilvusClient, str], None]:
    """A collection as a user made it: an auto_id INT64 key, no dynamic fields, other vectors, as asked."""

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
    ("make", "said"),
    [
        (with_fields(int_key=True), r"primary key id \(INT64, auto_id\); this store needs a VARCHAR id, not auto_id"),
        (with_fields(vector="embedding"), r"the vectors embedding \(FLOAT_VECTOR\); this store needs floats or int8 in vector"),
        (with_fields(dynamic=False), "no dynamic fields for payloads: make it with enable_dynamic_field=True"),
        (with_fields(metric="L2"), "has metric euclid; this store has metric cosine"),
        (with_fields(bare=True), "has no index on vector: make one with metric COSINE"),
    ],
    ids=["key", "vector", "dynamic", "metric", "index"],
)
def test_collections_that_a_store_cannot_use(
    plain: MilvusClient, mini: Encoder, name: str, make: Callable[[MilvusClient, str], None], said: str
) -> None:
    make(plain, name)
    with pytest.raises(ValueError, match=said):
        MilvusStore(plain, name, encoder=mini, dimensions=8).ingest(["text"])
    assert plain.has_collection(name)


def test_a_collection_of_the_user_with_typed_fields_and_other_names(plain: MilvusClient, mini: Encoder, name: str) -> None:
    plan = TextCollection(32, id_field="key", vector_field="embedding", index={"index_type": "HNSW", "params": {"M": 8}})
    schema = plan.schema()
    schema.add_field("year", DataType.INT64)
    plain.create_collection(name, schema=schema, index_params=plan.index_params())
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
def test_a_collection_whose_making_was_cut_short_is_completed(
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


def test_our_own_client_serves_too(uri: str, mini: Encoder, name: str) -> None:
    client = TaskvecMilvusClient(uri, encoder=mini, text_field="text")
    store = MilvusStore(client, name, encoder=mini, dimensions=8)
    store.ingest([("a", "A text.")])
    assert client.search(name, ["A text."], limit=1)[0][0]["id"] == store.search("A text.")[0].id
    client.close()


def test_nonsense_is_refused(plain: MilvusClient, mini: Encoder, name: str) -> None:
    with pytest.raises(TypeError, match="a MilvusClient was expected"):
        MilvusStore(AsyncMilvusClient, name)
    with pytest.raises(ValueError, match="precision is 'binary', whose vectors have no cosine: a store keeps float32, float16"):
        MilvusStore(plain, name, precision="binary")
    with pytest.raises(ValueError, match=r"milvus-lite 3\.\d+\.\d+ has no FLOAT16_VECTOR"):
        MilvusStore(plain, name, encoder=mini, precision="float16").ingest(["text"])
    assert not plain.has_collection(name)


def test_literals_are_quoted_as_milvus_reads_them() -> None:
    assert quote('a"b\\c\nd') == '"a\\"b\\\\c\\nd"'
