"""Writing encoded documents: in batches bounded in points and bytes, beside the encoding, a refused batch split.

Order is kept: batches are written one after another, and a batch never has two documents of one id. Knows backends, not encoders.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from threading import Event, Semaphore

import numpy as np

from taskvec_integrations.ingestion.backend import Backend
from taskvec_integrations.ingestion.diff import DocumentDiff
from taskvec_integrations.ingestion.points import Point, Vector
from taskvec_integrations.ingestion.recorder import ReportRecorder
from taskvec_integrations.ingestion.retries import Retries

MAX_WAITING_BATCHES = 4  # with the one being filled and the one being written this bounds what waits in memory

NO_VECTOR = np.empty(0, dtype=np.float32)

DiffPoint = tuple[DocumentDiff, Point]
DiffId = tuple[DocumentDiff, str]


@dataclass
class UploadBatch:
    """What is sent together.

    Args:
        points: Points that are written in full.
        payloads: Points of which only the payload is written.
        deletions: The ids of points that are deleted.
        complete: The documents of which the last point is in this batch.
        document_ids: The ids of all documents in it.
        weight_bytes: What points, payloads and ids weigh.
    """

    points: list[DiffPoint] = field(default_factory=list)
    payloads: list[DiffPoint] = field(default_factory=list)
    deletions: list[DiffId] = field(default_factory=list)
    complete: list[DocumentDiff] = field(default_factory=list)
    document_ids: set[str] = field(default_factory=set)
    weight_bytes: int = 0

    def has_room(self, backend: Backend, weight_bytes: int) -> bool:
        """Whether one more of this weight fits; into an empty batch anything does."""
        count = len(self.points) + len(self.payloads) + len(self.deletions)
        return not count or (count < backend.max_batch_points and self.weight_bytes + weight_bytes <= backend.max_batch_bytes)


class Uploader:
    """Takes encoded documents and writes them.

    Args:
        backend: Where they are written.
        retries: Makes every call.
        recorder: Is told of everything that is written, refused and deleted.
        stop: Is set where writing failed or is aborted; nothing more is written then.
        on_finished: Is called with each document that is written or failed.
    """

    def __init__(
        self,
        backend: Backend,
        retries: Retries,
        recorder: ReportRecorder,
        stop: Event,
        on_finished: Callable[[DocumentDiff], None],
    ) -> None:
        self._backend = backend
        self._retries = retries
        self._recorder = recorder
        self._stop = stop
        self._on_finished = on_finished
        self._batch = UploadBatch()
        self._slots = Semaphore(MAX_WAITING_BATCHES + 1)  # for those that wait and the one being written
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="taskvec-upload") if backend.threaded else None
        self._error: Exception | None = None
        self._refusals: dict[str, str] = {}  # by id of a point that was refused: the reason
        self._postponed: dict[str, set[str]] = defaultdict(set)  # by document id: stale points that are not deleted yet

    def add(self, diff: DocumentDiff, vectors: Sequence[Vector]) -> None:
        """Put a document into batches, and write those that are full; waits while too many wait.

        Args:
            diff: The document.
            vectors: The vectors of its `chunks_to_encode`, in order.

        Raises:
            Exception: What ended the writing of an earlier document.
        """
        if diff.document.id in self._batch.document_ids:
            self._submit()
        if not diff.follows_pending:  # it was compared with what is stored, whatever was refused before
            for id in diff.ids:
                self._refusals.pop(id, None)
        for chunk, vector in zip(diff.chunks_to_encode, vectors, strict=True):
            point = diff.point(chunk, vector)
            self._batch_with_room(self._backend.weigh(point)).points.append((diff, point))
        for point in (diff.point(chunk, NO_VECTOR) for chunk in diff.chunks_with_new_payload):
            self._batch_with_room(self._backend.weigh(point)).payloads.append((diff, point))
        for id in diff.stale_ids:
            self._batch_with_room(len(id)).deletions.append((diff, id))
        self._batch.complete.append(diff)
        self._batch.document_ids.add(diff.document.id)

    def close(self) -> None:
        """Write what is left, and raise what ended the writing."""
        self._submit()
        if self._executor:
            self._executor.shutdown()
        self._raise_error()

    def abort(self) -> None:
        """Let the batch that is being written finish and drop the others."""
        self._stop.set()
        if self._executor:
            self._executor.shutdown(cancel_futures=True)

    def _batch_with_room(self, weight_bytes: int) -> UploadBatch:
        if not self._batch.has_room(self._backend, weight_bytes):
            self._submit()
        self._batch.weight_bytes += weight_bytes
        return self._batch

    def _submit(self) -> None:
        self._raise_error()
        batch, self._batch = self._batch, UploadBatch()
        self._slots.acquire()
        if self._executor:
            self._executor.submit(copy_context().run, self._try_batch, batch)
        else:
            self._try_batch(batch)
            self._raise_error()

    def _try_batch(self, batch: UploadBatch) -> None:
        try:
            if not self._stop.is_set():
                self._write_batch(batch)
        except Exception as error:
            self._error = error
            self._stop.set()
        finally:
            self._slots.release()

    def _raise_error(self) -> None:
        if self._error:
            raise self._error

    def _write_batch(self, batch: UploadBatch) -> None:
        start = time.perf_counter()
        try:
            self._write(self._backend.write, batch.points)
            self._write(self._backend.write_payloads, [pair for pair in batch.payloads if not self._is_missing(*pair)])
            if deletions := self._deletions(batch):
                self._retries.call(self._backend.delete, [id for _, id in deletions])
                self._recorder.record_deleted(deletions)
            for diff in batch.complete:
                self._recorder.record_finished(diff)
                self._on_finished(diff)
        finally:
            self._recorder.record_uploading_seconds(time.perf_counter() - start)

    def _deletions(self, batch: UploadBatch) -> list[DiffId]:
        """The points to delete: none of a document with a refused chunk, because its older version is all there is.

        Those are postponed until a later document of the same id is written whole; where none comes, the next run finds them.
        """
        deletions = []
        for diff, id in batch.deletions:
            postponed = self._postponed[diff.document.id]
            if self._is_whole(diff):
                deletions.append((diff, id))
                postponed.discard(id)
            else:
                postponed.add(id)
        for diff in batch.complete:
            if self._is_whole(diff):
                deletions += [(diff, id) for id in self._postponed.pop(diff.document.id, set()).difference(diff.ids)]
        return deletions

    def _is_whole(self, diff: DocumentDiff) -> bool:
        return not diff.failed and self._refusals.keys().isdisjoint(diff.ids)

    def _write(self, function: Callable[[Sequence[Point]], None], points: Sequence[DiffPoint]) -> None:
        """Write all points; where the server refuses them, each half of them, down to the points that are bad."""
        if not points:
            return
        try:
            self._retries.call(function, [point for _, point in points])
        except Exception as error:
            if self._backend.retry_after(error) is not None or not self._backend.refused(error):
                raise
            if len(points) == 1:
                self._refuse(*points[0], self._backend.reason(error))
                return
            for half in (points[: len(points) // 2], points[len(points) // 2 :]):
                self._write(function, half)
        else:
            self._recorder.record_written(points)
            for _, point in points if self._refusals else ():
                self._refusals.pop(point.id, None)

    def _is_missing(self, diff: DocumentDiff, point: Point) -> bool:
        """Whether the point is not there because it was refused in an earlier document of this run, of the same id."""
        if reason := self._refusals.get(point.id):
            self._refuse(diff, point, reason)
        return bool(reason)

    def _refuse(self, diff: DocumentDiff, point: Point, reason: str) -> None:
        self._recorder.record_refused(diff, point, reason)
        self._refusals[point.id] = reason
