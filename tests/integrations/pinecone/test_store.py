"""What is particular to PineconeStore: ids, limits, late writes, errors on the wire, kinds of indexes. SDK 7 to 10."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, closing
from typing import Any

import numpy as np
import pytest

from support.pinecone import emulator as pinecone_emulator
from support.pinecone.emulator import KEY, PineconeServer, pinecone
from support.pinecone.indexes import VERSION, Client, async_index, sync_index
from taskvec import Encoder
from taskvec_integrations.ingestion.backend import Record
from taskvec_integrations.pinecone import PineconeStore, TaskvecIndex
from taskvec_integrations.pinecone.backend import LOOK_UPS, RECORDS, PineconeBackend
from taskvec_integrations.pinecone.errors import reason, refused, retry_after
from taskvec_integrations.pinecone.records import weigh
from taskvec_integrations.store import Document, Hit

Connect = Callable[..., Any]
Open = Callable[..., PineconeStore]

WIDTH = 32  # of `short`
TEXTS = [(number, f"text {number}") for number in range(40)]
# How often the SDK tries by itself, which cannot be told to stop; the older ones differ from case to case.
TRIES = 4 if VERSION >= 9 else 1


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PineconeBackend, "first_wait", 0.01)
    monkeypatch.setattr(PineconeBackend, "visible_seconds", 10.0)
    if VERSION >= 9:
        monkeypatch.setattr("pinecone._internal.http_client._retry_sleep", lambda seconds: None, raising=False)


@pytest.fixture
def narrow() -> Iterator[PineconeServer]:
    with pinecone(WIDTH) as server:
        yield server


@pytest.fixture
def connect(narrow: PineconeServer) -> Iterator[Connect]:
    """Makes indexes of the SDK, and closes them."""
    with ExitStack() as stack:

        def connect_to(server: PineconeServer = narrow, **options: Any) -> Any:
            return stack.enter_context(closing(sync_index(server.url, **options)))

        yield connect_to


@pytest.fixture
def open_store(narrow: PineconeServer, connect: Connect, short: Encoder) -> Open:
    """Every call makes a new store, as a new run would."""

    def open_one(server: PineconeServer = narrow, **options: Any) -> PineconeStore:
        return PineconeStore(connect(server), **({"encoder": short, "namespace": "docs"} | options))

    return open_one


def held(server: PineconeServer, namespace: str = "docs") -> list[tuple[str, int, str]]:
    """Everything stored, doubles included."""
    stored = [record.fields for record in server.stored(namespace).values()]
    return sorted((fields["document_id"], int(fields["chunk"]), fields["text"]) for fields in stored)


def wanted(texts: list[tuple[int, str]]) -> list[tuple[str, int, str]]:
    return sorted((str(number), 0, text) for number, text in texts)


def test_vectors_are_exact_both_ways(open_store: Open, narrow: PineconeServer, short: Encoder) -> None:
    store = open_store()
    store.ingest(TEXTS)
    records = {record.fields["text"]: record.values for record in narrow.stored("docs").values()}
    np.testing.assert_array_equal(list(records.values()), short.encode_documents(list(records)))
    store.search("Which number?", 3)
    (query,) = narrow.sent("query")
    np.testing.assert_array_equal(np.array(query.body["vector"], np.float32), short.encode_queries("Which number?"))
    assert query.namespace == "docs" or query.body["namespace"] == "docs"


def test_requests_are_as_large_as_they_may_be(open_store: Open, narrow: PineconeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 20_000
    monkeypatch.setattr(PineconeBackend, "max_batch_bytes", limit)
    weights: list[int] = []

    def weighing(backend: PineconeBackend, point: Any) -> int:
        weights.append(weigh(point))
        return weights[-1]

    monkeypatch.setattr(PineconeBackend, "weigh", weighing)
    documents = [Document(f"n{n}", f'ü{n} "{n}" ' * (n % 40 + 1), payload={"k": "\\ü" * n, "z": [str(n)]}) for n in range(100)]
    assert open_store(chunk_tokens=None).ingest(documents).chunks.written == 100
    sizes = [request.size for request in narrow.sent("vectors/upsert") if request.body.get("namespace") == "docs"]
    assert len(sizes) > 5
    assert max(sizes) <= limit + 100  # the namespace and what is around the records
    around = len('{"vectors":[],"namespace":"docs"}') * len(sizes)
    if VERSION >= 8:
        assert sum(sizes) == sum(weights) - len(sizes) + around
    else:
        assert sum(weights) * 0.97 < sum(sizes) <= sum(weights) + 2 * around


FAULTS: list[tuple[Any, ...]] = [
    *((kind, operation, {}) for operation in ("vectors/upsert", "vectors/list", "vectors/delete") for kind in (503, "reset")),
    (500, "describe_index_stats", {}),
    (504, "vectors/fetch", {}),
    (429, "vectors/upsert", {"headers": {"Retry-After": "1"}}),
    (429, "vectors/upsert", {"landed": True}),
    ("reset", "vectors/upsert", {"landed": True}),
    ("reset", "vectors/delete", {"landed": True}),
]


@pytest.mark.parametrize(("kind", "operation", "how"), FAULTS, ids=str)
def test_what_passes_is_tried_again_and_nothing_is_lost_or_doubled(
    open_store: Open, narrow: PineconeServer, kind: Any, operation: str, how: dict[str, Any]
) -> None:
    open_store().ingest([*TEXTS[:20], Document("cut", chunks=["a", "b"])])
    narrow.fail(kind, operation, times=TRIES * (LOOK_UPS if operation == "vectors/list" else 1), **how)
    start = time.perf_counter()
    report = open_store().ingest([*((number, f"new {text}") for number, text in TEXTS), Document("cut", chunks=["a"])])
    assert time.perf_counter() - start >= ("headers" in how)
    assert held(narrow) == sorted([("cut", 0, "a"), *((str(number), 0, f"new {text}") for number, text in TEXTS)])
    assert (report.chunks.written, report.chunks.skipped, report.chunks.deleted, report.failed) == (40, 1, 1, [])
    if VERSION >= 9:
        assert report.retries >= 1


@pytest.mark.skipif(VERSION < 9, reason="says how often it tries since SDK 9")
def test_the_sdk_tries_again_and_we_do_not_multiply_that(open_store: Open, narrow: PineconeServer) -> None:
    store = open_store(retry_seconds=0)
    store.ingest([])
    narrow.requests.clear()
    narrow.fail(503, "vectors/upsert")
    with pytest.raises(Exception, match="told to fail"):
        store.ingest(TEXTS)
    assert 1 <= len(narrow.sent("vectors/upsert")) <= TRIES


def test_a_request_that_is_too_large_is_split(open_store: Open, narrow: PineconeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pinecone_emulator, "MAX_BODY", 4000)
    report = open_store().ingest([*TEXTS, Document("huge", "x", payload={"k": "y" * 4000})])
    assert 413 in [request.status for request in narrow.requests]
    assert held(narrow) == wanted(TEXTS)
    assert [failure.document_id for failure in report.failed] == ["huge"]
    assert report.failed[0].reason.startswith("413: ")
    assert report.retries == 0


BAD: dict[str, tuple[Document, str]] = {
    "null": (Document("null", "x", payload={"kept": 1, "lost": None}), "it has None in the field 'lost'"),
    "nested": (Document("nested", "x", payload={"a": {"b": 1}}), "it has dict in the field 'a'"),
    "numbers": (Document("numbers", "x", payload={"a": [1, 2]}), "it has list in the field 'a'"),
    "large": (Document("large", "x", payload={"a": "ü" * 21_000}), "bytes of metadata, Pinecone takes 40,960"),
    "integer": (Document("integer", "x", payload={"a": 2**70}), "'a'"),
    "Köln": (Document("Köln", "x"), "it has the id 'Köln': Pinecone takes ASCII only"),
    "a\0b": (Document("a\0b", "x"), "Pinecone takes ASCII only"),
    "long" * 120: (Document("long" * 120, "x"), "its record has an id of"),
    "longer" * 120: (Document("longer" * 120, "x"), "it has an id of 720 characters"),
}


def test_what_pinecone_does_not_take_is_named_and_not_sent(open_store: Open, narrow: PineconeServer) -> None:
    documents = [*TEXTS[:20], *(document for document, _ in BAD.values()), *TEXTS[20:]]
    for _ in range(2):
        report = open_store().ingest(documents)
        reasons = {failure.document_id: failure.reason for failure in report.failed}
        assert reasons.keys() == BAD.keys()
        for id, (_, said) in BAD.items():
            assert said in reasons[id]
        assert held(narrow) == wanted(TEXTS)
    assert {request.status for request in narrow.requests} == {200}


def test_a_change_that_is_refused_leaves_what_was_there(open_store: Open, narrow: PineconeServer) -> None:
    open_store().ingest(TEXTS)
    report = open_store().ingest(Document(number, text, payload={"new": None}) for number, text in TEXTS)
    assert (report.chunks.failed, report.chunks.deleted) == (40, 0)
    assert held(narrow) == wanted(TEXTS)


def test_a_run_sees_its_own_writes_however_late_they_show(open_store: Open, short: Encoder) -> None:
    with pinecone(WIDTH, delay=0.4) as server:
        documents = [Document("x", chunks=["a", "b", "c"]), *TEXTS, Document("x", chunks=["a", "d"]), *TEXTS, ("x", "last")]
        report = open_store(server).ingest(documents)
        assert report.chunks.read == report.chunks.done
        # Nothing is looked at here that makes it show.
        assert {hit.text for hit in open_store(server).search("last", 100)} == {"last", *dict(TEXTS).values()}
        again = open_store(server).ingest([*TEXTS, ("x", "last")])
        assert (again.chunks.encoded, again.chunks.skipped) == (0, 41)
        assert held(server) == sorted([("x", 0, "last"), *wanted(TEXTS)])


def test_what_a_killed_run_wrote_and_does_not_show_is_not_doubled(
    open_store: Open, monkeypatch: pytest.MonkeyPatch, short: Encoder
) -> None:
    with pinecone(WIDTH, delay=0.4) as server:
        open_store(server).ingest([Document("x", chunks=["a", "b"])])
        with monkeypatch.context() as patch:
            patch.setattr(PineconeBackend, "finish", lambda self: None)
            open_store(server).ingest([*TEXTS, Document("x", chunks=["a", "c"])])
        report = open_store(server).ingest([*TEXTS, Document("x", chunks=["a", "c"])])
        assert report.chunks.encoded == 41
        assert held(server) == sorted([("x", 0, "a"), ("x", 1, "c"), *wanted(TEXTS)])


def test_a_run_killed_before_the_old_record_was_deleted_is_repaired(
    open_store: Open, narrow: PineconeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store().ingest([Document("x", chunks=["a", "b"])])
    with monkeypatch.context() as patch:
        patch.setattr(PineconeBackend, "_delete", lambda self, records: None)
        patch.setattr(PineconeBackend, "finish", lambda self: None)
        open_store().ingest([Document("x", chunks=["a", "c"])])
    assert held(narrow) == [("x", 0, "a"), ("x", 1, "b"), ("x", 1, "c")]
    assert open_store().ingest([Document("x", chunks=["a", "c"])]).chunks.written == 1
    assert held(narrow) == [("x", 0, "a"), ("x", 1, "c")]


def test_ids_that_begin_alike_and_records_of_others_are_told_apart(
    open_store: Open, connect: Connect, narrow: PineconeServer
) -> None:
    both = [Document("a", chunks=["1", "2"]), Document("a#0", chunks=["3", "4"]), Document("a#0#1", chunks=["5", "6"])]
    open_store().ingest(both)
    connect().upsert(vectors=[{"id": "a#note", "values": [1.0] * WIDTH}], namespace="docs")
    assert open_store().ingest(both).chunks.skipped == 6
    open_store().ingest([Document("a", chunks=["1"])])
    stored = narrow.stored("docs")
    assert stored.pop("a#note")
    assert sorted(record.fields["text"] for record in stored.values()) == ["1", "3", "4", "5", "6"]


def test_a_document_of_more_chunks_than_a_page_lists(open_store: Open, narrow: PineconeServer) -> None:
    open_store().ingest([Document("x", chunks=[f"chunk {n}" for n in range(250)])])
    report = open_store().ingest([Document("x", chunks=[f"chunk {n}" for n in range(20)])])
    assert (report.chunks.skipped, report.chunks.deleted) == (20, 230)
    assert len(held(narrow)) == 20


def test_only_a_namespace_that_held_something_is_listed(open_store: Open, narrow: PineconeServer) -> None:
    open_store().ingest([*TEXTS, *TEXTS])
    assert len(narrow.sent("vectors/list")) <= 2  # for the last change, which is waited for
    narrow.requests.clear()
    open_store().ingest(TEXTS)
    assert sorted(request.body["prefix"] for request in narrow.sent("vectors/list")) == sorted(f"{n}#" for n, _ in TEXTS)
    assert not narrow.sent("vectors/upsert")
    assert len(narrow.sent("vectors/fetch")) == 1


def test_many_documents_are_forgotten_and_looked_up_again(open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskvec_integrations.pinecone.written_records.REMEMBERED", 10)
    monkeypatch.setattr("taskvec_integrations.ingestion.run.COMPARE_CHARACTERS", 10)
    with pinecone(WIDTH) as server:
        report = open_store(server).ingest([*TEXTS, *((number, f"new {text}") for number, text in TEXTS)])
        assert report.chunks.written == 80
        assert held(server) == wanted([(number, f"new {text}") for number, text in TEXTS])


def test_the_record_is_kept_where_no_search_finds_it(open_store: Open, narrow: PineconeServer, short: Encoder) -> None:
    open_store(document_task="separation").ingest(TEXTS)
    open_store(namespace="").ingest([("other", "another task")])
    records = narrow.stored(RECORDS)
    assert records.keys() == {"docs", "__default__"}
    assert Record.from_json(records["docs"].fields["taskvec"]) == Record(short.fingerprint, WIDTH, "separation", False)
    assert len(open_store(document_task="separation").search("text", 100)) == 40
    assert [hit.document_id for hit in open_store(namespace="__default__").search("text", 100)] == ["other"]
    with pytest.raises(ValueError, match=r"/docs' has document_task separation; this store has document_task retrieval.passage"):
        open_store().search("text")


def test_a_hit_is_as_it_was_ingested(open_store: Open) -> None:
    store = open_store()
    store.ingest([Document("x", chunks=["a", "b"], payload={"year": 1867, "tags": ["p"], "ok": True, "name": "ü"})])
    (hit,) = store.search("b", 1, filter={"text": {"$eq": "b"}})
    assert isinstance(hit, Hit)
    assert (hit.document_id, hit.chunk, hit.text) == ("x", 1, "b")
    assert hit.payload == {"year": 1867, "tags": ["p"], "ok": True, "name": "ü"}
    assert hit.id.startswith("x#1#")


def test_what_is_no_index_of_ours(narrow: PineconeServer, connect: Connect, short: Encoder) -> None:
    async def of_async() -> None:
        async with AsyncExitStack() as stack:
            PineconeStore(await async_index(narrow.url, stack))

    with pytest.raises(TypeError, match="a plain Index was expected"):
        asyncio.run(of_async())
    with pytest.raises(TypeError, match="an index was expected"):
        PineconeStore("docs")
    for namespace in ("taskvec", "Köln"):
        with pytest.raises(ValueError, match="of ASCII, since 'taskvec' is kept"):
            PineconeStore(connect(), namespace=namespace)
    with pytest.raises(ValueError, match="has dimensions 32; this store has dimensions 16"):
        PineconeStore(connect(), encoder=short, dimensions=16).ingest(TEXTS)
    assert {request.operation for request in narrow.requests} == {"describe_index_stats", "vectors/fetch"}


def test_a_wrong_key_ends_the_run(narrow: PineconeServer, short: Encoder) -> None:
    client = Client(api_key="wrong")
    index = client.index(host=narrow.url) if VERSION >= 9 else client.Index(host=narrow.url)
    with closing(index), pytest.raises(Exception, match="Invalid API Key"):
        PineconeStore(index, encoder=short).ingest(TEXTS)
    assert len(narrow.requests) == 1


def test_a_record_that_never_shows_is_said(open_store: Open, monkeypatch: pytest.MonkeyPatch, short: Encoder) -> None:
    monkeypatch.setattr(PineconeBackend, "visible_seconds", 0.1)
    with pinecone(WIDTH, delay=60) as server, pytest.raises(TimeoutError, match=r"could not be read 0\.1 s after it was written"):
        open_store(server, retry_seconds=0).ingest(TEXTS)


def test_a_last_change_that_does_not_show_is_a_warning(
    open_store: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, short: Encoder
) -> None:
    with pinecone(WIDTH) as server:
        open_store(server).ingest([])
        server.data.delay = 60
        monkeypatch.setattr(PineconeBackend, "visible_seconds", 0.1)
        assert open_store(server).ingest(TEXTS).chunks.written == 40
        assert "does not show its last change 0.1 s after it was made" in caplog.text


class Forgetful:
    """An index that takes one record fewer than it is sent, once."""

    def __init__(self, index: Any) -> None:
        self._index = index
        self._left = 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)

    def upsert(self, vectors: list[Any], **options: Any) -> Any:
        forgets = self._left and len(vectors) > 1
        self._left -= bool(forgets)
        return self._index.upsert(vectors=vectors[1:] if forgets else vectors, **options)


def test_records_that_were_not_taken_are_sent_again(narrow: PineconeServer, connect: Connect, short: Encoder) -> None:
    report = PineconeStore(Forgetful(connect()), encoder=short, namespace="docs").ingest(TEXTS)
    assert report.retries == 1
    assert held(narrow) == wanted(TEXTS)


def test_an_index_that_takes_texts_will_do_as_well(narrow: PineconeServer, connect: Connect, short: Encoder) -> None:
    store = PineconeStore(TaskvecIndex(connect(), short), encoder=short, namespace="docs")
    store.ingest(TEXTS)
    assert held(narrow) == wanted(TEXTS)
    assert store.search("text 7", 1)


@pytest.mark.skipif(VERSION < 10, reason="before SDK 10 gRPC wants TLS")
def test_over_grpc(narrow: PineconeServer, short: Encoder) -> None:
    from support.pinecone.grpc_emulator import also_grpc

    changed = [*TEXTS[:30], *((number, f"new {text}") for number, text in TEXTS[30:])]
    with also_grpc(narrow), closing(Client(api_key=KEY, grpc_scheme="http").index(host=narrow.url, grpc=True)) as index:
        store = PineconeStore(index, encoder=short, namespace="docs")
        store.ingest([*TEXTS, Document("long", chunks=[f"chunk {n}" for n in range(120)])])
        report = store.ingest([*changed, Document("long", chunks=["chunk 0"])])
        assert (report.chunks.skipped, report.chunks.written, report.chunks.deleted) == (31, 10, 119)
        assert held(narrow) == sorted([*wanted(changed), ("long", 0, "chunk 0")])
        records = {record.fields["text"]: record.values for record in narrow.stored("docs").values()}
        np.testing.assert_array_equal(list(records.values()), short.encode_documents(list(records)))
        assert store.search("text 7", 3)[0].chunk == 0
    assert "grpc/vectors/upsert" in {request.operation for request in narrow.requests}


def test_errors_that_say_nothing() -> None:
    assert retry_after(KeyError("x")) is None
    assert retry_after(TimeoutError()) == 0.0
    assert not refused(KeyError("x"))
    assert reason(ValueError()) == "ValueError"
