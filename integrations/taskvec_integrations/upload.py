"""Writing what is encoded: batches bounded in points and bytes, written beside the encoding, a refused one split.

Order is kept: batches are written one after another, and a batch never names an id twice. Knows engines, not encoders.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field

import numpy as np

from taskvec_integrations.engine import Engine, Point, Vector
from taskvec_integrations.ledger import Ledger
from taskvec_integrations.plan import Work
from taskvec_integrations.retries import Retries

QUEUE = 4  # full batches that may wait; with the one being filled and the one being written this bounds what waits in memory

NO_VECTOR = np.empty(0, dtype=np.float32)

Planned = tuple[Work, Point]


@dataclass
class Batch:
    """What is sent together: points in full, payloads alone, ids to delete, and the documents of which this is the end."""

    points: list[Planned] = field(default_factory=list)
    payloads: list[Planned] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    ends: list[Work] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    bytes: int = 0

    def has_room(self, engine: Engine, weight: int, id: str) -> bool:
        """Whether one more of this weight may come in; into an empty batch anything may."""
        full = len(self.ids) >= engine.max_batch_points or self.bytes + weight > engine.max_batch_bytes
        return not self.ids or not (full or id in self.ids)


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

    def add(self, work: Work, vectors: Sequence[Vector]) -> None:
        """One document with the vectors of the chunks in `work.encode`; waits while the queue is full.

        Raises what ended the writing of an earlier one.
        """
        for chunk, vector in zip(work.encode, vectors, strict=True):
            point = work.point(chunk, vector)
            self._room(self._engine.weigh(point), point.id).points.append((work, point))
        for point in (work.point(chunk, NO_VECTOR) for chunk in work.rewrite):
            self._room(self._engine.weigh(point), point.id).payloads.append((work, point))
        for id in work.stale:
            self._room(len(id), id).stale.append(id)
        self._batch.ends.append(work)

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

    def _room(self, weight: int, id: str) -> Batch:
        if not self._batch.has_room(self._engine, weight, id):
            self._send()
        self._batch.ids.add(id)
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
            if batch.stale:
                self._retries(self._engine.delete, batch.stale)
                self._ledger.deleted(len(batch.stale))
            for work in batch.ends:
                self._ledger.finished(work)
                self._finished(work)
        finally:
            self._ledger.uploading(time.perf_counter() - start)

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
