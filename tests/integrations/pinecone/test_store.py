"""What a PineconeStore writes and finds: exact vectors, one record a chunk, on every kind of index."""

import asyncio
from contextlib import AsyncExitStack, closing
from typing import Any

import numpy as np
import pinecone as sdk
import pytest

from support.pinecone.emulator import KEY, PineconeServer
from support.pinecone.indexes import VERSION, async_index
from support.pinecone.stores import (
    NARROW_WIDTH,
    NUMBERED,
    Connect,
    OpenStore,
    chunks_of,
    stored_chunks,
)
from taskvec import Encoder
from taskvec_integrations.ingestion.points import Record
from taskvec_integrations.pinecone import PineconeStore, TaskvecIndex
from taskvec_integrations.pinecone.backend import RECORD_NAMESPACE, PineconeBackend
from taskvec_integrations.pinecone.records import weigh
from taskvec_integrations.store import Document, Hit


def test_vectors_are_exact_both_ways(open_store: OpenStore, narrow: PineconeServer, short: Encoder) -> None:
    store = open_store()
    store.ingest(NUMBERED)
    records = {record.fields["text"]: record.values for record in narrow.stored("docs").values()}
    np.testing.assert_array_equal(list(records.values()), short.encode_documents(list(records)))
    store.search("Which number?", 3)
    (query,) = narrow.sent("query")
    np.testing.assert_array_equal(np.array(query.body["vector"], np.float32), short.encode_queries("Which number?"))
    assert query.namespace == "docs" or query.body["namespace"] == "docs"


def test_requests_are_as_large_as_they_may_be(
    open_store: OpenStore, narrow: PineconeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    assert sum(sizes) == sum(weights) - len(sizes) + around


def test_a_hit_is_as_it_was_ingested(open_store: OpenStore) -> None:
    store = open_store()
    store.ingest([Document("x", chunks=["a", "b"], payload={"year": 1867, "tags": ["p"], "ok": True, "name": "ü"})])
    (hit,) = store.search("b", 1, filter={"text": {"$eq": "b"}})
    assert isinstance(hit, Hit)
    assert (hit.document_id, hit.chunk, hit.text) == ("x", 1, "b")
    assert hit.payload == {"year": 1867, "tags": ["p"], "ok": True, "name": "ü"}
    assert hit.id.startswith("x#1#")


def test_the_record_is_kept_where_no_search_finds_it(open_store: OpenStore, narrow: PineconeServer, short: Encoder) -> None:
    open_store(document_task="separation").ingest(NUMBERED)
    open_store(namespace="").ingest([("other", "another task")])
    records = narrow.stored(RECORD_NAMESPACE)
    assert records.keys() == {"docs", "__default__"}
    assert Record.from_json(records["docs"].fields["taskvec"]) == Record(short.fingerprint, NARROW_WIDTH, "separation", False)
    assert len(open_store(document_task="separation").search("text", 100)) == 40
    assert [hit.document_id for hit in open_store(namespace="__default__").search("text", 100)] == ["other"]
    with pytest.raises(ValueError, match=r"/docs' has document_task separation; this store has document_task retrieval.passage"):
        open_store().search("text")


def test_what_is_no_index_of_ours(narrow: PineconeServer, connect: Connect, short: Encoder) -> None:
    async def of_async() -> None:
        async with AsyncExitStack() as stack:
            PineconeStore(await async_index(narrow.url, stack))

    with pytest.raises(TypeError, match="pass a plain Index; aingest and asearch use it in a thread"):
        asyncio.run(of_async())
    with pytest.raises(TypeError, match=r"index is 'docs': pass an index, such as pc\.index\(\.\.\.\) returns"):
        PineconeStore("docs")
    for namespace in ("taskvec", "Köln"):
        with pytest.raises(ValueError, match="use an ASCII name other than 'taskvec', where the stores record"):
            PineconeStore(connect(), namespace=namespace)
    with pytest.raises(ValueError, match="has dimensions 32; this store has dimensions 16"):
        PineconeStore(connect(), encoder=short, dimensions=16).ingest(NUMBERED)
    assert {request.operation for request in narrow.requests} == {"describe_index_stats", "vectors/fetch"}


def test_an_index_that_takes_texts_will_do_as_well(narrow: PineconeServer, connect: Connect, short: Encoder) -> None:
    store = PineconeStore(TaskvecIndex(connect(), short), encoder=short, namespace="docs")
    store.ingest(NUMBERED)
    assert stored_chunks(narrow) == chunks_of(NUMBERED)
    assert store.search("text 7", 1)


@pytest.mark.skipif(VERSION < 10, reason="before SDK 10 gRPC wants TLS")
def test_over_grpc(narrow: PineconeServer, short: Encoder) -> None:
    from support.pinecone.grpc_emulator import also_grpc

    changed = [*NUMBERED[:30], *((number, f"new {text}") for number, text in NUMBERED[30:])]
    with also_grpc(narrow), closing(sdk.Pinecone(api_key=KEY, grpc_scheme="http").index(host=narrow.url, grpc=True)) as index:
        store = PineconeStore(index, encoder=short, namespace="docs")
        store.ingest([*NUMBERED, Document("long", chunks=[f"chunk {n}" for n in range(120)])])
        report = store.ingest([*changed, Document("long", chunks=["chunk 0"])])
        assert (report.chunks.skipped, report.chunks.written, report.chunks.deleted) == (31, 10, 119)
        assert stored_chunks(narrow) == sorted([*chunks_of(changed), ("long", 0, "chunk 0")])
        records = {record.fields["text"]: record.values for record in narrow.stored("docs").values()}
        np.testing.assert_array_equal(list(records.values()), short.encode_documents(list(records)))
        assert store.search("text 7", 3)[0].chunk == 0
    assert "grpc/vectors/upsert" in {request.operation for request in narrow.requests}
