"""A second run, whatever database is behind the store: it writes what changed and nothing else."""

from collections.abc import Iterator, Sequence

import pytest

from support.contract import CHUNKS, CURIE, DOCUMENTS, assert_accounted, assert_vectors, counts, vectors_of
from support.database import Database
from taskvec import Encoder
from taskvec_integrations.ingestion.points import Point
from taskvec_integrations.store import Document, IngestReport


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
