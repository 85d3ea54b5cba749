"""The check of a store fails under each way the pipeline could be subtly wrong, so passing it means something."""

import dataclasses
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from support.fake_backend import BusyError, FakeBackend, FakeCollection, FakeStore, Trouble
from support.mistakes import queries_as_passages, tasks_swapped
from taskvec import Encoder
from taskvec_integrations.ingestion import collection, diff, encoding, retries, upload
from taskvec_integrations.store import Document

Patch = pytest.MonkeyPatch

CHUNKS = {"a": ["one two", "three", "four"], "b": ["five", "bad", "six seven", "eight"], "c": ["nine ten"], "d": ["x", "y"]}


def documents(**changes: list[str]) -> list[Document]:
    return [Document(id, chunks=chunks, payload={"v": len(id)}) for id, chunks in (CHUNKS | changes).items() if chunks]


def assert_holds(store: FakeStore, encoder: Encoder, chunks: dict[str, list[str]], late: bool) -> None:
    wanted: dict[tuple[str, int], Any] = {}
    for id, texts in chunks.items():
        vectors = encoder.encode_documents(texts, dimensions=24, late_chunking=late)
        wanted |= {(id, chunk): vector for chunk, vector in enumerate(vectors) if texts[chunk] != "bad"}
    assert store.vectors.keys() == wanted.keys()
    for key, vector in wanted.items():
        np.testing.assert_allclose(store.vectors[key], vector, atol=1e-5)


def check(encoder: Encoder, late: bool) -> None:
    """Ingest under trouble, again, after edits, twice the same id, with another task; search."""
    server: dict[str, FakeCollection] = {}

    def open_store(**other: Any) -> FakeStore:
        settings = {"dimensions": 24, "late_chunking": late} | other
        return FakeStore(FakeBackend(server, trouble=Trouble(), max_batch_points=2), encoder=encoder, **settings)

    first = open_store().ingest(documents())
    assert [(failure.document_id, failure.chunk) for failure in first.failed] == [("b", 1)]
    assert (first.documents.written, first.documents.failed, first.chunks.written) == (3, 1, 9)
    assert first.retries
    assert_holds(open_store(), encoder, CHUNKS, late)
    again = open_store().ingest(documents(b=[]))
    assert (again.documents.skipped, again.chunks.encoded, again.chunks.written) == (3, 0, 0)
    edits = {"a": ["one two", "THREE"], "d": ["x", "y", "z"]}
    third = open_store().ingest(documents(b=[], **edits))
    assert (third.chunks.encoded, third.chunks.deleted) == ((5, 1) if late else (2, 1))
    assert_holds(open_store(), encoder, CHUNKS | edits, late)
    refused = open_store().ingest([Document("a", chunks=["bad"]), Document("d", chunks=["bad"]), Document("d", chunks=["X"])])
    assert (refused.chunks.failed, refused.chunks.deleted) == (2, 2)
    edits["d"] = ["X"]
    assert_holds(open_store(), encoder, CHUNKS | edits, late)
    twice = [Document("c", chunks=["p", "q", "r", "s"]), Document("new", chunks=["t"]), Document("c", chunks=["p"])]
    open_store().ingest(twice)
    assert_holds(open_store(), encoder, CHUNKS | edits | {"c": ["p"], "new": ["t"]}, late)
    assert open_store().ingest([Document("c", chunks=["p"], payload={"v": "new"})]).chunks.encoded == 0
    assert {fields["v"] for fields, _ in server["docs"].points.values() if fields["document_id"] == "c"} == {"new"}
    (hit,) = open_store().search("one", 1)
    query = encoder.encode_queries("one", dimensions=24)
    assert hit.score == pytest.approx(max(float(vector @ query) for vector in open_store().vectors.values()), abs=1e-5)
    for other in ({"document_task": "separation"}, {"dimensions": 25}):
        with pytest.raises(ValueError, match="this store has"):
            open_store(**other).ingest(documents())


def late_chunking_forgotten(patch: Patch) -> None:
    patch.setattr(encoding.DocumentEncoder, "_encode_whole", encoding.DocumentEncoder._encode_chunks)


def every_other_batch_lost(patch: Patch) -> None:
    right, count = upload.Uploader._write_batch, [0]

    def write(self: Any, batch: Any) -> None:
        count[0] += 1
        right(self, batch if count[0] % 2 else upload.UploadBatch(complete=batch.complete))

    patch.setattr(upload.Uploader, "_write_batch", write)


def last_batch_lost(patch: Patch) -> None:
    patch.setattr(upload.Uploader, "close", lambda self: self._executor.shutdown())


def failing_batch_not_split(patch: Patch) -> None:
    def write(self: Any, function: Any, points: Any) -> None:
        try:
            if points:
                self._retries.call(function, [point for _, point in points])
                self._recorder.record_written(points)
        except ValueError as error:
            for pair in points:
                self._recorder.record_refused(*pair, str(error))

    patch.setattr(upload.Uploader, "_write", write)


def one_half_of_a_failing_batch_lost(patch: Patch) -> None:
    def write(self: Any, function: Any, points: Any) -> None:
        try:
            if points:
                self._retries.call(function, [point for _, point in points])
                self._recorder.record_written(points)
        except ValueError as error:
            if len(points) > 1:
                write(self, function, points[len(points) // 2 :])
            else:
                self._recorder.record_refused(*points[0], str(error))

    patch.setattr(upload.Uploader, "_write", write)


def stale_chunks_kept(patch: Patch) -> None:
    right = diff.Differ._diff

    def without_stale(self: Any, *given: Any) -> Any:
        changes = right(self, *given)
        changes.stale_ids.clear()
        return changes

    patch.setattr(diff.Differ, "_diff", without_stale)


def stale_chunks_of_what_was_refused_deleted(patch: Patch) -> None:
    patch.setattr(upload.Uploader, "_is_whole", lambda self, changes: True)


def postponed_deletions_forgotten(patch: Patch) -> None:
    def deletions(self: Any, batch: Any) -> Any:
        return [(changes, id) for changes, id in batch.deletions if self._is_whole(changes)]

    patch.setattr(upload.Uploader, "_deletions", deletions)


def never_tried_again(patch: Patch) -> None:
    patch.setattr(retries.Retries, "call", lambda self, function, *args: function(*args))


def failures_swallowed(patch: Patch) -> None:
    def call(self: Any, function: Any, *args: Any) -> Any:
        try:
            return function(*args)
        except BusyError:
            self._on_retry()
            return {}

    patch.setattr(retries.Retries, "call", call)


def hash_without(name: str) -> Callable[[Patch], None]:
    def mutate(patch: Patch) -> None:
        right = diff.Differ._hashes

        def hashes(self: Any, document: Any, spans: Any) -> Any:
            blank: dict[str, Any] = {"text": "_" * len(document.text)} if name == "text" else {"payload_json": b""}
            return right(self, dataclasses.replace(document, **blank), spans)

        patch.setattr(diff.Differ, "_hashes", hashes)

    return mutate


def hash_of_each_chunk_alone_under_late_chunking(patch: Patch) -> None:
    right = diff.Differ._hashes

    def hashes(self: Any, document: Any, spans: Any) -> Any:
        late, self._late_chunking = self._late_chunking, False
        try:
            return right(self, document, spans)
        finally:
            self._late_chunking = late

    patch.setattr(diff.Differ, "_hashes", hashes)


def pending_documents_forgotten(patch: Patch) -> None:
    patch.setattr(diff.Differ, "_mark_pending", lambda self, id, hashes: None)
    patch.setattr(diff.Differ, "mark_written", lambda self, changes: None)
    patch.setattr(diff.Differ, "is_only_pending", lambda self, changes: True)
    right = diff.Differ.compare
    one_by_one = lambda self, documents: [changes for document in documents for changes in right(self, [document])]  # noqa: E731
    patch.setattr(diff.Differ, "compare", one_by_one)


def random_ids(patch: Patch) -> None:
    patch.setattr(FakeBackend, "point_id", lambda self, document_id, chunk: str(uuid.uuid4()))


def vectors_of_the_wrong_chunk(patch: Patch) -> None:
    right = diff.DocumentDiff.point
    patch.setattr(diff.DocumentDiff, "point", lambda self, chunk, vector: right(self, (chunk + 1) % len(self.spans), vector))


def nothing_compared(patch: Patch) -> None:
    patch.setattr(collection, "check", lambda *given: None)


def full_width(patch: Patch) -> None:
    right = encoding.DocumentEncoder.__init__

    def init(self: Any, encoder: Any, record: Any, recorder: Any) -> None:
        right(self, encoder, record, recorder)
        self._options["dimensions"] = None

    patch.setattr(encoding.DocumentEncoder, "__init__", init)


def not_normalized(patch: Patch) -> None:
    right = Encoder.encode
    patch.setattr(Encoder, "encode", lambda self, *texts, **given: right(self, *texts, **given, normalize=False))


MUTATIONS: tuple[Callable[[Patch], None], ...] = (
    tasks_swapped,
    queries_as_passages,
    every_other_batch_lost,
    last_batch_lost,
    failing_batch_not_split,
    one_half_of_a_failing_batch_lost,
    stale_chunks_kept,
    stale_chunks_of_what_was_refused_deleted,
    postponed_deletions_forgotten,
    never_tried_again,
    failures_swallowed,
    hash_without("text"),
    hash_without("payload"),
    pending_documents_forgotten,
    random_ids,
    vectors_of_the_wrong_chunk,
    nothing_compared,
    full_width,
    not_normalized,
)
LATE_MUTATIONS: tuple[Callable[[Patch], None], ...] = (
    late_chunking_forgotten,
    hash_of_each_chunk_alone_under_late_chunking,
)


@pytest.mark.parametrize("late", [False, True], ids=["plain", "late"])
def test_the_store_passes_as_it_is(short: Encoder, late: bool) -> None:
    check(short, late)


@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__qualname__.partition(".")[0])
def test_a_mistake_is_noticed(short: Encoder, monkeypatch: Patch, mutate: Callable[[Patch], None]) -> None:
    mutate(monkeypatch)
    with pytest.raises((AssertionError, BusyError, KeyError, pytest.fail.Exception)):
        check(short, late=False)


@pytest.mark.parametrize("mutate", LATE_MUTATIONS, ids=lambda mutate: mutate.__qualname__)
def test_a_mistake_in_late_chunking_is_noticed(short: Encoder, monkeypatch: Patch, mutate: Callable[[Patch], None]) -> None:
    mutate(monkeypatch)
    with pytest.raises(AssertionError):
        check(short, late=True)
