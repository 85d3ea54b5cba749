"""Writing what is encoded: batches bounded in points and bytes, written beside the encoding, a refused one split.

Order is kept: batches are written one after another, and a batch never has two documents of one id. Knows backends, not encoders.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field

import numpy as np

from taskvec_integrations.ingestion.backend import Backend, Point, Vector
from taskvec_integrations.ingestion.diff import DocumentDiff
from taskvec_integrations.ingestion.recorder import ReportRecorder
from taskvec_integrations.ingestion.retries import Retries

QUEUE = 4  # full batches that may wait; with the one being filled and the one being written this bounds what waits in memory

NO_VECTOR = np.empty(0, dtype=np.float32)

DiffPoint = tuple[DocumentDiff, Point]


@dataclass
class UploadBatch:
    """What is sent together: points in full, payloads alone, ids to delete, and the documents of which this is the end."""

    points: list[DiffPoint] = field(default_factory=list)
    payloads: list[DiffPoint] = field(default_factory=list)
    stale: list[tuple[DocumentDiff, str]] = field(default_factory=list)
    ends: list[DocumentDiff] = field(default_factory=list)
    documents: set[str] = field(default_factory=set)
    bytes: int = 0

    def has_room(self, backend: Backend, weight: int) -> bool:
        """Whether one more of this weight may come in; into an empty batch anything may."""
        count = len(self.points) + len(self.payloads) + len(self.stale)
        return not count or (count < backend.max_batch_points and self.bytes + weight <= backend.max_batch_bytes)


class Uploader:
    """Takes finished documents and writes them; `finished` is called with each one that is through, written or failed."""

    def __init__(
        self,
        backend: Backend,
        retries: Retries,
        recorder: ReportRecorder,
        stop: threading.Event,
        finished: Callable[[DocumentDiff], None],
    ) -> None:
        self._backend = backend
        self._retries = retries
        self._recorder = recorder
        self._stop = stop
        self._finished = finished
        self._batch = UploadBatch()
        self._free = threading.Semaphore(QUEUE + 1)  # those that wait and the one being written
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="taskvec-upload") if backend.threaded else None
        self._failure: Exception | None = None
        self._refused: dict[str, str] = {}
        self._kept: dict[str, set[str]] = defaultdict(set)

    def add(self, diff: DocumentDiff, vectors: Sequence[Vector]) -> None:
        """One document with the vectors of the chunks in `diff.encode`; waits while the queue is full.

        Raises what ended the writing of an earlier one.
        """
        if diff.source.id in self._batch.documents:
            self._send()
        if not diff.follows:  # it was compared with what is stored, whatever was refused before
            for id in diff.ids:
                self._refused.pop(id, None)
        for chunk, vector in zip(diff.encode, vectors, strict=True):
            point = diff.point(chunk, vector)
            self._room(self._backend.weigh(point)).points.append((diff, point))
        for point in (diff.point(chunk, NO_VECTOR) for chunk in diff.rewrite):
            self._room(self._backend.weigh(point)).payloads.append((diff, point))
        for id in diff.stale:
            self._room(len(id)).stale.append((diff, id))
        self._batch.ends.append(diff)
        self._batch.documents.add(diff.source.id)

    def close(self) -> None:
        """Write what is left, and raise what ended the writing."""
        self._send()
        if self._executor:
            self._executor.shutdown()
        self._raise_failure()

    def abort(self) -> None:
        """Let the batch that is being written finish and drop the others."""
        self._stop.set()
        if self._executor:
            self._executor.shutdown(cancel_futures=True)

    def _room(self, weight: int) -> UploadBatch:
        if not self._batch.has_room(self._backend, weight):
            self._send()
        self._batch.bytes += weight
        return self._batch

    def _send(self) -> None:
        self._raise_failure()
        batch, self._batch = self._batch, UploadBatch()
        self._free.acquire()
        if self._executor:
            self._executor.submit(copy_context().run, self._try_batch, batch)
        else:
            self._try_batch(batch)
            self._raise_failure()

    def _try_batch(self, batch: UploadBatch) -> None:
        try:
            if not self._stop.is_set():
                self._write_batch(batch)
        except Exception as error:
            self._failure = error
            self._stop.set()
        finally:
            self._free.release()

    def _raise_failure(self) -> None:
        if self._failure:
            raise self._failure

    def _write_batch(self, batch: UploadBatch) -> None:
        start = time.perf_counter()
        try:
            self._write(self._backend.write, batch.points)
            self._write(self._backend.write_payloads, [one for one in batch.payloads if not self._refused_before(*one)])
            if gone := self._gone(batch):
                self._retries(self._backend.delete, [id for _, id in gone])
                self._recorder.deleted(gone)
            for diff in batch.ends:
                self._recorder.finished(diff)
                self._finished(diff)
        finally:
            self._recorder.uploading(time.perf_counter() - start)

    def _gone(self, batch: UploadBatch) -> list[tuple[DocumentDiff, str]]:
        """What is to be deleted: nothing of a document with a chunk that was refused, whose older version is all there is.

        A later one of this run, of the same id, that lands whole takes it along; else the next run finds it again.
        """
        gone = []
        for diff, id in batch.stale:
            kept = self._kept[diff.source.id]
            if self._is_whole(diff):
                gone.append((diff, id))
                kept.discard(id)
            else:
                kept.add(id)
        for diff in batch.ends:
            if self._is_whole(diff):
                gone += [(diff, id) for id in self._kept.pop(diff.source.id, set()).difference(diff.ids)]
        return gone

    def _is_whole(self, diff: DocumentDiff) -> bool:
        return not diff.failed and self._refused.keys().isdisjoint(diff.ids)

    def _write(self, function: Callable[[Sequence[Point]], None], planned: Sequence[DiffPoint]) -> None:
        """Write all of them; where the server refuses, halves, down to the points that are bad."""
        if not planned:
            return
        try:
            self._retries(function, [point for _, point in planned])
        except Exception as error:
            if self._backend.retry_after(error) is not None or not self._backend.refused(error):
                raise
            if len(planned) == 1:
                self._refuse(*planned[0], self._backend.reason(error))
                return
            for half in (planned[: len(planned) // 2], planned[len(planned) // 2 :]):
                self._write(function, half)
        else:
            self._recorder.written(planned)
            for _, point in planned if self._refused else ():
                self._refused.pop(point.id, None)

    def _refused_before(self, diff: DocumentDiff, point: Point) -> bool:
        """Whether the point is missing because an earlier document of this run, of the same id, was refused in it."""
        if reason := self._refused.get(point.id):
            self._refuse(diff, point, reason)
        return bool(reason)

    def _refuse(self, diff: DocumentDiff, point: Point, reason: str) -> None:
        self._recorder.refused(diff, point, reason)
        self._refused[point.id] = reason
