"""Documents that Pinecone would refuse are named in the report and not sent."""

from support.pinecone.emulator import PineconeServer
from support.pinecone.stores import NUMBERED, OpenStore, chunks_of, stored_chunks
from taskvec_integrations.ingestion.documents import Input
from taskvec_integrations.store import Document

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


def test_what_pinecone_does_not_take_is_named_and_not_sent(open_store: OpenStore, narrow: PineconeServer) -> None:
    documents: list[Input] = [*NUMBERED[:20], *(document for document, _ in BAD.values()), *NUMBERED[20:]]
    for _ in range(2):
        report = open_store().ingest(documents)
        reasons = {failure.document_id: failure.reason for failure in report.failed}
        assert reasons.keys() == BAD.keys()
        for id, (_, message) in BAD.items():
            assert message in reasons[id]
        assert stored_chunks(narrow) == chunks_of(NUMBERED)
    assert {request.status for request in narrow.requests} == {200}


def test_a_change_that_is_refused_leaves_what_was_there(open_store: OpenStore, narrow: PineconeServer) -> None:
    open_store().ingest(NUMBERED)
    report = open_store().ingest(Document(number, text, payload={"new": None}) for number, text in NUMBERED)
    assert (report.chunks.failed, report.chunks.deleted) == (40, 0)
    assert stored_chunks(narrow) == chunks_of(NUMBERED)
