"""What every store does, whatever database is behind it: it stores chunks with the right vectors and finds them."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from support.contract import BERLIN, CHUNKS, CURIE, DOCUMENTS, assert_accounted, assert_vectors, counts, vectors_of
from support.database import Database
from taskvec import Encoder
from taskvec_integrations.store import Document


def test_chunks_are_stored_as_encode_documents_makes_them(database: Database, mini: Encoder) -> None:
    report = database.ingest(database.store(encoder=mini, dimensions=128), DOCUMENTS)
    assert counts(report) == (7, 7, 7, 0, 0, 0)
    assert (report.documents.read, report.documents.encoded, report.documents.written) == (3, 3, 3)
    assert_accounted(report)
    vectors = mini.encode_documents(CHUNKS.values(), dimensions=128)
    assert_vectors(database, dict(zip(CHUNKS, vectors, strict=True)))
    for id, (fields, _) in database.points().items():
        assert id == database.id(fields["document_id"], int(fields["chunk"]), fields)
        assert fields["text"] == CHUNKS[fields["document_id"], fields["chunk"]]


def test_payloads_may_be_nested_or_that_is_said(database: Database, mini: Encoder) -> None:
    payload = {"tags": ["physics", {"deep": None}]}
    report = database.ingest(database.store(encoder=mini), [Document("a", "one", payload=payload), ("b", "two")])
    if database.nests:
        assert {fields["document_id"]: fields.get("tags") for fields, _ in database.points().values()} == {
            "b": None,
            "a": payload["tags"],
        }
    else:
        assert [(failure.document_id, "tags" in failure.reason) for failure in report.failed] == [("a", True)]
        assert vectors_of(database).keys() == {("b", 0)}


def test_late_chunking_keeps_documents_whole(database: Database, mini: Encoder) -> None:
    database.ingest(database.store(encoder=mini, late_chunking=True), DOCUMENTS)
    curie = mini.encode_documents(CURIE, late_chunking=True)
    (berlin,) = mini.encode_spans([BERLIN], [[(0, 33), (34, 71), (72, 93)]])
    yeast = mini.encode_documents("Yeast turns sugar into gas.")
    assert_vectors(database, dict(zip(CHUNKS, [*curie, *berlin, yeast], strict=True)))


def test_a_search_uses_the_query_task(database: Database, mini: Encoder) -> None:
    store = database.store(encoder=mini, dimensions=128)
    database.ingest(store, DOCUMENTS)
    question = "Which prize did she win?"
    scores = vectors_of(database), mini.encode_queries(question, dimensions=128)
    hits = database.search(store, question, 3)
    assert len(hits) == 3
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    for hit in hits:
        vector = scores[0][hit.document_id, hit.chunk]
        assert hit.score == pytest.approx(float(vector @ scores[1]), abs=1e-5)
        assert hit.text == CHUNKS[hit.document_id, hit.chunk]
    assert (hits[0].document_id, hits[0].chunk, type(hits[0].chunk)) == ("curie", 1, int)
    assert hits[0].id in database.points()
    assert hits[0].payload == DOCUMENTS[0].payload


def test_other_tasks_can_be_asked_for(database: Database, mini: Encoder) -> None:
    store = database.store(encoder=mini, document_task=None, query_task="text-matching")
    database.ingest(store, DOCUMENTS)
    vectors = mini.encode(CHUNKS.values(), task=None)
    assert_vectors(database, dict(zip(CHUNKS, vectors, strict=True)))
    (hit,) = database.search(store, "bread", 1)
    query = mini.encode("bread", task="text-matching")
    assert hit.score == pytest.approx(float(vectors[list(CHUNKS).index((hit.document_id, hit.chunk))] @ query), abs=1e-5)


def test_a_filter_narrows_a_search(database: Database, mini: Encoder) -> None:
    store = database.store(encoder=mini)
    database.ingest(store, DOCUMENTS)
    hits = database.search(store, "Which prize did she win?", filter=database.where("kind", "city"))
    assert {hit.document_id for hit in hits} == {"berlin"}
    assert len(hits) == 3


def test_texts_and_pairs_and_the_same_text_twice(database: Database, mini: Encoder) -> None:
    store = database.store(encoder=mini)
    report = database.ingest(store, (text for text in ["One.", ("b", "Two."), "One.", (3, "Three."), "One."]))
    assert counts(report) == (5, 3, 3, 2, 0, 0)
    assert_accounted(report)
    assert len(database.points()) == 3
    assert {hit.text for hit in database.search(store, "One")} == {"One.", "Two.", "Three."}


def test_of_two_documents_with_one_id_the_later_counts(database: Database, mini: Encoder) -> None:
    documents = [Document("x", chunks=CURIE), Document("y", "between"), Document("x", chunks=CURIE[:2]), Document("x", "last")]
    report = database.ingest(database.store(encoder=mini), documents)
    assert_accounted(report)
    assert vectors_of(database).keys() == {("x", 0), ("y", 0)}
    assert_vectors(database, {("x", 0): mini.encode_documents("last"), ("y", 0): mini.encode_documents("between")})


def test_long_texts_are_split_and_nothing_is_lost(database: Database, mini: Encoder) -> None:
    text = "\n\n".join(f"Paragraph {number} has a few words of its own, and a number: {number**3}." for number in range(40))
    report = database.ingest(database.store(encoder=mini, chunk_tokens=64), [("long", text), ("short", "Hello.")])
    texts = {(fields["document_id"], fields["chunk"]): fields["text"] for fields, _ in database.points().values()}
    assert report.chunks.written == len(texts) > 10
    assert max(mini.count_tokens(texts.values())) <= 64
    assert "".join("".join(texts["long", n] for n in range(len(texts) - 1)).split()) == "".join(text.split())
    assert texts["short", 0] == "Hello."
    assert_vectors(database, dict(zip(texts, mini.encode_documents(texts.values()), strict=True)))


async def a_stream() -> AsyncIterator[Document]:
    for document in DOCUMENTS:
        yield document


def test_async_iterables_and_a_search_beside(database: Database, mini: Encoder) -> None:
    asyncio.run(ingest_and_search(database, mini))


async def ingest_and_search(database: Database, mini: Encoder) -> None:
    store = database.store(encoder=mini)
    assert (await store.aingest(a_stream())).chunks.written == 7
    (hit,) = await store.asearch("What is the capital of Germany?", 1)
    assert hit.document_id == "berlin"
