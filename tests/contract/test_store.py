"""What every store does, whatever database is behind it."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from support.databases import Database
from taskvec import Encoder
from taskvec_integrations.ingestion.points import Point
from taskvec_integrations.store import Document, IngestReport

CURIE = ["Marie Curie was born in Warsaw in 1867.", "She shared the Nobel Prize in Physics.", "Her notebooks are radioactive."]
BERLIN = "Berlin is the capital of Germany. The city has 3.8 million inhabitants. It lies on the Spree."
DOCUMENTS = [
    Document("curie", chunks=CURIE, payload={"kind": "person", "year": 1867, "tags": ["physics", "chemistry"]}),
    Document("berlin", BERLIN, spans=[(0, 33), (34, 71), (72, 93)], payload={"kind": "city"}),
    Document(3, "Yeast turns sugar into gas.", payload={"kind": "food"}),
]
CHUNKS = {
    ("curie", 0): CURIE[0],
    ("curie", 1): CURIE[1],
    ("curie", 2): CURIE[2],
    ("berlin", 0): BERLIN[:33],
    ("berlin", 1): BERLIN[34:71],
    ("berlin", 2): BERLIN[72:],
    ("3", 0): "Yeast turns sugar into gas.",
}
ROUNDING = 1e-6


def vectors_of(database: Database) -> dict[tuple[str, int], Any]:
    return {(fields["document_id"], fields["chunk"]): vector for fields, vector in database.points().values()}


def assert_vectors(database: Database, wanted: dict[tuple[str, int], Any]) -> None:
    held = vectors_of(database)
    assert held.keys() == wanted.keys()
    for key, vector in wanted.items():
        np.testing.assert_allclose(held[key], vector, atol=ROUNDING, err_msg=str(key))


def counts(report: IngestReport) -> tuple[int, int, int, int, int, int]:
    chunks = report.chunks
    return chunks.read, chunks.encoded, chunks.written, chunks.skipped, chunks.failed, chunks.deleted


def assert_accounted(report: IngestReport) -> None:
    assert report.documents.read == report.documents.done
    assert report.chunks.read == report.chunks.done


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


@pytest.mark.parametrize("late", [False, True], ids=["plain", "late"])
def test_a_second_run_does_nothing(database: Database, mini: Encoder, late: bool) -> None:
    database.ingest(database.store(encoder=mini, late_chunking=late), DOCUMENTS)
    before = database.points()
    report = database.ingest(database.store(encoder=mini, late_chunking=late), iter(DOCUMENTS))
    assert counts(report) == (7, 0, 0, 7, 0, 0)
    assert report.documents.skipped == 3
    assert_accounted(report)
    assert before.keys() == database.points().keys()


def test_an_edit_encodes_only_the_chunks_that_changed(database: Database, mini: Encoder) -> None:
    database.ingest(database.store(encoder=mini), DOCUMENTS)
    edited = Document("curie", chunks=[CURIE[0], "She shared the Nobel Prize in Chemistry."], payload=DOCUMENTS[0].payload)
    report = database.ingest(database.store(encoder=mini), [edited, *DOCUMENTS[1:]])
    assert counts(report) == (6, 1, 1, 5, 0, 1)
    assert (report.documents.written, report.documents.skipped, report.documents.deleted) == (1, 2, 1)
    wanted = {**CHUNKS, ("curie", 1): "She shared the Nobel Prize in Chemistry."}
    del wanted["curie", 2]
    assert_vectors(database, dict(zip(wanted, mini.encode_documents(wanted.values()), strict=True)))


def test_an_edit_encodes_the_whole_document_under_late_chunking(database: Database, mini: Encoder) -> None:
    database.ingest(database.store(encoder=mini, late_chunking=True), DOCUMENTS)
    before = vectors_of(database)
    edited = [CURIE[0], "She shared the Nobel Prize in Chemistry."]
    report = database.ingest(database.store(encoder=mini, late_chunking=True), [Document("curie", chunks=edited)])
    assert counts(report) == (2, 2, 2, 0, 0, 1)
    after = mini.encode_documents(edited, late_chunking=True)
    del before["curie", 2]
    assert_vectors(database, before | {("curie", 0): after[0], ("curie", 1): after[1]})


def test_only_fewer_chunks_only_deletes(database: Database, mini: Encoder) -> None:
    database.ingest(database.store(encoder=mini), [Document("curie", chunks=CURIE)])
    report = database.ingest(database.store(encoder=mini), [Document("curie", chunks=CURIE[:1])])
    assert counts(report) == (1, 0, 0, 1, 0, 2)
    assert vectors_of(database).keys() == {("curie", 0)}
    assert_accounted(report)


def test_a_new_payload_reaches_every_chunk(database: Database, mini: Encoder) -> None:
    database.ingest(database.store(encoder=mini), DOCUMENTS)
    before = vectors_of(database)
    report = database.ingest(database.store(encoder=mini), [Document("curie", chunks=CURIE, payload={"kind": "laureate"})])
    assert report.chunks.written == 3
    assert_vectors(database, before)
    curie = [fields for fields, _ in database.points().values() if fields["document_id"] == "curie"]
    assert [fields["kind"] for fields in curie] == ["laureate"] * 3
    assert not any("year" in fields for fields in curie)
    assert (
        counts(database.ingest(database.store(encoder=mini), [Document("curie", chunks=CURIE, payload={"kind": "laureate"})]))[2]
        == 0
    )


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


def test_bad_documents_are_named_and_the_rest_lands(database: Database, mini: Encoder) -> None:
    bad = [
        Document("empty", ""),
        Document("chunk", chunks=["a", ""]),
        Document("span", "abc", spans=[(0, 9)]),
        Document("payload", "abc", payload={"when": object()}),
        Document("reserved", "abc", payload={"text": "mine"}),
        17,
        Document("both", "a", chunks=["a"]),
    ]
    report = database.ingest(database.store(encoder=mini), [bad[0], DOCUMENTS[0], *bad[1:], DOCUMENTS[2]])
    assert (report.documents.read, report.documents.written, report.documents.failed) == (9, 2, 7)
    assert_accounted(report)
    reasons = {failure.document_id: failure.reason for failure in report.failed}
    assert reasons == {
        "empty": "its text is empty or blank",
        "chunk": "chunk 1 is empty: leave it out, an empty chunk has no vector of its own",
        "span": "in its text, span 0 is (0, 9): it needs 0 <= start < stop <= 3, the text's length",
        "payload": "its payload is not JSON: 'when': Object of type object is not JSON serializable",
        "reserved": "its payload has the key 'text', which is used for the store's own: rename it",
        "document 6 of the input": "it is of type int: a Document, a str or a pair (id, text) was expected",
        "both": "it has both text and chunks: give its text, its text with spans, or its chunks",
    }
    assert vectors_of(database).keys() == {("curie", 0), ("curie", 1), ("curie", 2), ("3", 0)}


def assert_old_or_new(database: Database, report: IngestReport, old: list[str], new: list[str]) -> None:
    held = sorted((fields["chunk"], fields["text"]) for fields, _ in database.points().values())
    assert held == list(enumerate(old if report.failed else new))
    assert_accounted(report)
    assert report.documents.deleted == (not report.failed)


@pytest.mark.parametrize("late", [False, True], ids=["plain", "late"])
def test_an_edit_that_is_refused_leaves_the_version_before(database: Database, mini: Encoder, late: bool) -> None:
    """Some databases have no number as large; those that do take the edit."""
    old, new = ["one", "two", "three"], ["uno", "dos"]
    database.ingest(database.store(encoder=mini, late_chunking=late), [Document("e", chunks=old)])
    edited = Document("e", chunks=new, payload={"v": 2**70})
    assert_old_or_new(database, database.ingest(database.store(encoder=mini, late_chunking=late), [edited]), old, new)


def test_an_edit_refused_for_its_text_leaves_the_version_before(
    database: Database, mini: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = ["one", "two", "three"]
    database.ingest(database.store(encoder=mini), [Document("e", chunks=old)])
    store = database.store(encoder=mini)
    write = store.backend.write

    def refuse_bad(points: Sequence[Point]) -> None:
        if any("bad" in point.text for point in points):
            raise ValueError("a bad word")
        write(points)

    monkeypatch.setattr(store.backend, "write", refuse_bad)
    report = database.ingest(store, [Document("e", chunks=["bad"])])
    assert report.failed == [("e", "a bad word", 0)]
    assert_old_or_new(database, report, old, [])
    assert_old_or_new(database, database.ingest(store, [Document("e", chunks=["uno"])]), old, ["uno"])


def test_long_texts_are_split_and_nothing_is_lost(database: Database, mini: Encoder) -> None:
    text = "\n\n".join(f"Paragraph {number} has a few words of its own, and a number: {number**3}." for number in range(40))
    report = database.ingest(database.store(encoder=mini, chunk_tokens=64), [("long", text), ("short", "Hello.")])
    texts = {(fields["document_id"], fields["chunk"]): fields["text"] for fields, _ in database.points().values()}
    assert report.chunks.written == len(texts) > 10
    assert max(mini.count_tokens(texts.values())) <= 64
    assert "".join("".join(texts["long", n] for n in range(len(texts) - 1)).split()) == "".join(text.split())
    assert texts["short", 0] == "Hello."
    assert_vectors(database, dict(zip(texts, mini.encode_documents(texts.values()), strict=True)))


def test_a_run_that_was_cut_short_goes_on(database: Database, mini: Encoder) -> None:
    def broken() -> Iterator[Document]:
        yield from DOCUMENTS[:2]
        raise OSError("the disk is gone")

    store = database.store(encoder=mini)
    with pytest.raises(OSError, match="the disk is gone") as caught:
        database.ingest(store, broken())
    assert "documents: 2 read: 2 encoded, 2 written" in caught.value.__notes__[0]
    assert len(database.points()) == 6
    assert counts(database.ingest(store, DOCUMENTS)) == (7, 1, 1, 6, 0, 0)


@pytest.mark.parametrize(
    ("first", "then", "said"),
    [
        ({"dimensions": 64}, {"dimensions": 128}, "has dimensions 64; this store has dimensions 128"),
        ({}, {"document_task": "separation"}, "document_task retrieval.passage; this store has document_task separation"),
        (
            {},
            {"document_task": None, "dimensions": 5},
            "has dimensions 384, document_task retrieval.passage; this store has dimens",
        ),
        ({}, {"late_chunking": True}, "has late_chunking False; this store has late_chunking True"),
    ],
    ids=["dimensions", "task", "two", "late"],
)
def test_other_settings_are_refused(
    database: Database, mini: Encoder, first: dict[str, Any], then: dict[str, Any], said: str
) -> None:
    database.ingest(database.store(encoder=mini, **first), DOCUMENTS)
    with pytest.raises(ValueError, match=r"collection '\S*docs' has .*use the settings of the collection") as caught:
        database.ingest(database.store(encoder=mini, **then), ["new"])
    assert said in str(caught.value)
    assert len(database.points()) == 7
    searching = database.store(encoder=mini, **then)
    if "late_chunking" in then:  # its vectors can be compared with those that are there
        assert database.search(searching, "Berlin")
    else:
        with pytest.raises(ValueError, match="this store has"):
            database.search(searching, "Berlin")


def test_another_model_is_refused_by_name(database: Database, mini: Encoder, encoder: Encoder) -> None:
    database.ingest(database.store(encoder=mini, dimensions=64), DOCUMENTS)
    with pytest.raises(ValueError, match=r"has model \S+; this store has model sha256:\w+/mean") as caught:
        database.ingest(database.store(encoder=encoder, dimensions=64), DOCUMENTS)
    assert mini.fingerprint in str(caught.value)
    assert encoder.fingerprint in str(caught.value)


def test_an_empty_collection_of_the_user_is_taken_where_it_fits(database: Database, mini: Encoder) -> None:
    database.make(64)
    with pytest.raises(ValueError, match="has dimensions 64; this store has dimensions 384"):
        database.ingest(database.store(encoder=mini), DOCUMENTS)
    assert database.ingest(database.store(encoder=mini, dimensions=64), DOCUMENTS).chunks.written == 7
    with pytest.raises(ValueError, match="document_task"):
        database.ingest(database.store(encoder=mini, dimensions=64, document_task=None), DOCUMENTS)


def test_another_metric_is_refused(database: Database, mini: Encoder) -> None:
    database.make(384, "dot")
    with pytest.raises(ValueError, match="has metric dot; this store has metric cosine"):
        database.ingest(database.store(encoder=mini), DOCUMENTS)


def test_points_of_unknown_origin_are_not_added_to(database: Database, mini: Encoder) -> None:
    database.make(384)
    database.add_foreign_point(384)
    store = database.store(encoder=mini)
    with pytest.raises(ValueError, match=r"collection '\S*docs' has points and no record of the model"):
        database.ingest(store, DOCUMENTS)
    with pytest.raises(ValueError, match="has no record of its model"):
        database.search(store, "Berlin")


def test_searching_nothing_says_so(database: Database, mini: Encoder) -> None:
    said = "there is no collection 'docs': ingest into it first" if database.makes_collections else "no record of its model"
    with pytest.raises(LookupError if database.makes_collections else ValueError, match=said):
        database.search(database.store(encoder=mini), "Berlin")


def test_an_empty_input_makes_the_collection(database: Database, mini: Encoder) -> None:
    store = database.store(encoder=mini)
    assert counts(database.ingest(store, [])) == (0, 0, 0, 0, 0, 0)
    assert database.search(store, "Berlin") == []


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
