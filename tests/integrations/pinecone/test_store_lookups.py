"""How a PineconeStore looks up what a namespace holds of a document: by listings of record ids that begin with its id."""

import pytest

from support.pinecone.emulator import PineconeServer, pinecone
from support.pinecone.stores import NARROW_WIDTH, NUMBERED, Connect, OpenStore, chunks_of, stored_chunks
from taskvec_integrations.store import Document


def test_ids_that_begin_alike_and_records_of_others_are_told_apart(
    open_store: OpenStore, connect: Connect, narrow: PineconeServer
) -> None:
    both = [Document("a", chunks=["1", "2"]), Document("a#0", chunks=["3", "4"]), Document("a#0#1", chunks=["5", "6"])]
    open_store().ingest(both)
    connect().upsert(vectors=[{"id": "a#note", "values": [1.0] * NARROW_WIDTH}], namespace="docs")
    assert open_store().ingest(both).chunks.skipped == 6
    open_store().ingest([Document("a", chunks=["1"])])
    stored = narrow.stored("docs")
    assert stored.pop("a#note")
    assert sorted(record.fields["text"] for record in stored.values()) == ["1", "3", "4", "5", "6"]


def test_a_document_of_more_chunks_than_a_page_lists(open_store: OpenStore, narrow: PineconeServer) -> None:
    open_store().ingest([Document("x", chunks=[f"chunk {n}" for n in range(250)])])
    report = open_store().ingest([Document("x", chunks=[f"chunk {n}" for n in range(20)])])
    assert (report.chunks.skipped, report.chunks.deleted) == (20, 230)
    assert len(stored_chunks(narrow)) == 20


def test_only_a_namespace_that_held_something_is_listed(open_store: OpenStore, narrow: PineconeServer) -> None:
    open_store().ingest([*NUMBERED, *NUMBERED])
    assert len(narrow.sent("vectors/list")) <= 2  # for the last change, which is waited for
    narrow.requests.clear()
    open_store().ingest(NUMBERED)
    assert sorted(request.body["prefix"] for request in narrow.sent("vectors/list")) == sorted(f"{n}#" for n, _ in NUMBERED)
    assert not narrow.sent("vectors/upsert")
    assert len(narrow.sent("vectors/fetch")) == 1


def test_many_documents_are_forgotten_and_looked_up_again(open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskvec_integrations.pinecone.written_records.MAX_CACHED_RECORDS", 10)
    monkeypatch.setattr("taskvec_integrations.ingestion.run.COMPARE_CHARACTERS", 10)
    with pinecone(NARROW_WIDTH) as server:
        report = open_store(server).ingest([*NUMBERED, *((number, f"new {text}") for number, text in NUMBERED)])
        assert report.chunks.written == 80
        assert stored_chunks(server) == chunks_of([(number, f"new {text}") for number, text in NUMBERED])
