"""Writing what is encoded: batches bounded in points and bytes, written beside the encoding, a refused one split.

Order is kept: batches are written one after another, and a batch never has two documents of one id. Knows engines, not encoders.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field

import numpy as np

from taskvec_integrations.ingestion.backend import Engine, Point, Vector
from taskvec_integrations.ingestion.diff import Work
from taskvec_integrations.ingestion.recorder import Ledger
from taskvec_integrations.ingestion.retries import Retries

QUEUE = 4  # full batches that may wait; with the one being filled and the one being written this bounds what waits in memory

NO_VECTOR = np.empty(0, dtype=np.float32)

Planned = tuple[Work, Point]


@dataclass
class Batch:
    """What is sent together: points in full, payloads alone, ids to delete, and the documents of which this is the end."""

    points: list[Planned] = field(default_factory=list)
    payloads: list[Planned] = field(default_factory=list)
    stale: list[tuple[Work, str]] = field(default_factory=list)
    ends: list[Work] = field(default_factory=list)
    documents: set[str] = field(default_factory=set)
    bytes: int = 0

    def has_room(self, engine: Engine, weight: int) -> bool:
        """Whether one more of this weight may come in; into an empty batch anything may."""
        count = len(self.points) + len(self.payloads) + len(self.stale)
        return not count or (count < engine.max_batch_points and self.bytes + weight <= engine.max_batch_bytes)


class Uploader:
    """Takes finished documents and writes them; `finished` is called with each one that is through, written or failed."""

    def __init__(
        self, engine: Engine, retries: Retries, ledger: Ledger, stop: threading.Event, finished: Callable[[Work], None]
    ) -> None:
        self._engine = engine
        self._retries = retries
        self._ledger = ledger
        self._stop = stop
        self._finished = finished
        self._batch = Batch()
        self._free = threading.Semaphore(QUEUE + 1)  # those that wait and the one being written
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="taskvec-upload") if engine.threaded else None
        self._failure: Exception | None = None
        self._refused: dict[str, str] = {}
        self._kept: dict[str, set[str]] = defaultdict(set)

    def add(self, work: Work, vectors: Sequence[Vector]) -> None:
        """One document with the vectors of the chunks in `work.encode`; waits while the queue is full.

        Raises what ended the writing of an earlier one.
        """
        if work.source.id in self._batch.documents:
            self._send()
        if not work.follows:  # it was compared with what is stored, whatever was refused before
            for id in work.ids:
                self._refused.pop(id, None)
        for chunk, vector in zip(work.encode, vectors, strict=True):
            point = work.point(chunk, vector)
            self._room(self._engine.weigh(point)).points.append((work, point))
        for point in (work.point(chunk, NO_VECTOR) for chunk in work.rewrite):
            self._room(self._engine.weigh(point)).payloads.append((work, point))
        for id in work.stale:
            self._room(len(id)).stale.append((work, id))
        self._batch.ends.append(work)
        self._batch.documents.add(work.source.id)

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

    def _room(self, weight: int) -> Batch:
        if not self._batch.has_room(self._engine, weight):
            self._send()
        self._batch.bytes += weight
        return self._batch

    def _send(self) -> None:
        self._raise_failure()
        batch, self._batch = self._batch, Batch()
        self._free.acquire()
        if self._executor:
            self._executor.submit(copy_context().run, self._try_batch, batch)
        else:
            self._try_batch(batch)
            self._raise_failure()

    def _try_batch(self, batch: Batch) -> None:
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

    def _write_batch(self, batch: Batch) -> None:
        start = time.perf_counter()
        try:
            self._write(self._engine.write, batch.points)
            self._write(self._engine.write_payloads, [one for one in batch.payloads if not self._refused_before(*one)])
            if gone := self._gone(batch):
                self._retries(self._engine.delete, [id for _, id in gone])
                self._ledger.deleted(gone)
            for work in batch.ends:
                self._ledger.finished(work)
                self._finished(work)
        finally:
            self._ledger.uploading(time.perf_counter() - start)

    def _gone(self, batch: Batch) -> list[tuple[Work, str]]:
        """What is to be deleted: nothing of a document with a chunk that was refused, whose older version is all there is.

        A later one of this run, of the same id, that lands whole takes it along; else the next run finds it again.
        """
        gone = []
        for work, id in batch.stale:
            kept = self._kept[work.source.id]
            if self._is_whole(work):
                gone.append((work, id))
                kept.discard(id)
            else:
                kept.add(id)
        for work in batch.ends:
            if self._is_whole(work):
                gone += [(work, id) for id in self._kept.pop(work.source.id, set()).difference(work.ids)]
        return gone

    def _is_whole(self, work: Work) -> bool:
        return not work.failed and self._refused.keys().isdisjoint(work.ids)

    def _write(self, function: Callable[[Sequence[Point]], None], planned: Sequence[Planned]) -> None:
        """Write all of them; where the server refuses, halves, down to the points that are bad."""
        if not planned:
            return
        try:
            self._retries(function, [point for _, point in planned])
        except Exception as error:
            if self._engine.retry_after(error) is not None or not self._engine.refused(error):
                raise
            if len(planned) == 1:
                self._refuse(*planned[0], self._engine.reason(error))
                return
            for half in (planned[: len(planned) // 2], planned[len(planned) // 2 :]):
                self._write(function, half)
        else:
            self._ledger.written(planned)
            for _, point in planned if self._refused else ():
                self._refused.pop(point.id, None)

    def _refused_before(self, work: Work, point: Point) -> bool:
        """Whether the point is missing because an earlier document of this run, of the same id, was refused in it."""
        if reason := self._refused.get(point.id):
            self._refuse(work, point, reason)
        return bool(reason)

    def _refuse(self, work: Work, point: Point, reason: str) -> None:
        self._ledger.refused(work, point, reason)
        self._refused[point.id] = reason
