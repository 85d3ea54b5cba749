"""Batches by tokens across requests: what runs next, how much may wait, and one thread a device that runs it.

Knows prepared calls (token sequences), nothing of HTTP. Requests wait in lanes: queries, short ones, long ones. Lanes share the
encoder by weight while they have something waiting (start-time fair queueing, Goyal et al. 1996), so a query is in the next batch
however much is being indexed, and indexing goes on however many queries come. Within a lane the request that is due first
chooses the batch's task, of which there is one; it is due the later the more tokens it has.
"""

import asyncio
import logging
import threading
import time
from bisect import insort
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import torch

from taskvec import Task
from taskvec.packing import Batch, Room, TokenSequence
from taskvec.pipeline import Prepared
from taskvec.pooling import Vectors
from taskvec_integrations.server.jobs import Job, Lane, Place

SLOWDOWN = 4.0
"""A request may wait this many times the seconds its own tokens take before nothing that comes later in its lane passes it."""
SMOOTHING = 0.2
"""Weight of the newest batch in the running mean of seconds a token takes."""
FIRST_GUESS = 1e-4
"""Seconds a token takes, before any was measured."""

log = logging.getLogger("taskvec.server")


class BatchRunner(Protocol):
    """What the scheduler needs of an Encoder."""

    dimensions: int
    max_batch_tokens: int

    @property
    def devices(self) -> list[torch.device]:
        """All devices that batches run on."""

    def run(self, batch: Batch, task: Task | None, *, device: int = 0) -> Vectors:
        """The pools of a batch, (K, width)."""


class OverloadedError(RuntimeError):
    """Too much waits already. `retry_after`: whole seconds until some of it will be done; `status`: of HTTP."""

    def __init__(self, message: str, retry_after: int, status: int = 429) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.status = status


class Ran(NamedTuple):
    """One batch that ran, for whoever counts: its task, tokens, the share of a full batch that they are.

    waits: of the requests that it is the first batch of, the route and the seconds.
    """

    task: Task | None
    tokens: int
    fill: float
    waits: list[tuple[str, float]]


class Scheduler:
    """A queue of requests, bounded in tokens, and the threads that empty it. `close` refuses what comes and ends what waits.

    max_waiting_tokens: a request that does not fit waits up to `patience` seconds for room, then OverloadedError; one that is
    larger than that gets in when nothing else waits. on_batch is told of each batch, in the thread that ran it.
    """

    def __init__(
        self,
        encoder: BatchRunner,
        max_waiting_tokens: int,
        patience: float,
        on_batch: Callable[[Ran], None] = lambda _: None,
    ) -> None:
        self._encoder = encoder
        self._max_waiting = max_waiting_tokens
        self._patience = patience
        self._on_batch = on_batch
        self._jobs: dict[Lane, defaultdict[Task | None, list[Job]]] = {lane: defaultdict(list) for lane in Lane}
        self._used = dict.fromkeys(Lane, 0.0)  # tokens a lane has run, over its weight
        self._clock = 0.0  # what the lane had used that ran last
        self._waiting = dict.fromkeys(Lane, 0)
        self._work = threading.Condition()
        self._line: list[Place] = []
        self._closed = False
        self._seconds_per_token = FIRST_GUESS
        self._threads = [
            threading.Thread(target=self._serve, args=(device,), name=f"taskvec-encoder-{device}", daemon=True)
            for device in range(len(encoder.devices))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting_tokens(self) -> int:
        """Tokens in the queue that did not start yet."""
        return sum(self._waiting.values())

    @property
    def alive(self) -> bool:
        """Whether every device's thread is at work."""
        return all(thread.is_alive() for thread in self._threads)

    async def __call__(self, prepared: Prepared, route: str = "") -> Vectors:
        """The vectors of a request. Cancelling takes it out of the queue. OverloadedError where it would wait too long."""
        tokens = prepared.usage.tokens
        if not prepared.sequences:
            return prepared.finish(np.zeros((prepared.rows, self._encoder.dimensions), dtype=np.float32))
        lane = Lane.of(prepared, self._encoder.max_batch_tokens)
        await self._enter(tokens, lane)
        loop = asyncio.get_running_loop()
        due = time.monotonic() + SLOWDOWN * tokens * self._seconds_per_token
        job = Job(prepared, lane, due, loop.create_future(), loop, route)
        job.start(self._encoder.dimensions)
        with self._work:
            if not any(self._jobs[lane].values()):  # who had nothing to run has saved nothing up
                self._used[lane] = max(self._used[lane], self._clock)
            insort(self._jobs[lane][prepared.settings.task], job, key=lambda job: job.due)
            self._work.notify_all()
        try:
            return await job.future
        finally:
            self._leave(job)

    async def _enter(self, tokens: int, lane: Lane) -> None:
        """Count tokens into the queue, at once or as soon as they fit, in the order of arrival among those that fit."""
        with self._work:
            if self._closed:
                raise _closing()
            if self._fits(tokens, lane) and not any(place.lane is lane for place in self._line):
                self._waiting[lane] += tokens
                return
            place = Place(tokens, lane, asyncio.get_running_loop())
            self._line.append(place)
        try:
            await asyncio.wait_for(place.entered.wait(), self._patience)
        except BaseException as error:
            with self._work:
                if place in self._line:
                    self._line.remove(place)
                elif isinstance(error, TimeoutError):  # let in at the last moment
                    return
                else:
                    self._waiting[lane] -= tokens
                    self._let_in()
                    self._work.notify_all()
            if isinstance(error, TimeoutError):
                raise self._overloaded(tokens, lane) from None
            raise
        with self._work:
            if place in self._line:  # woken by `close`
                self._line.remove(place)
                raise _closing()

    def _let_in(self) -> None:
        """Those that wait for room and fit now, each lane in order; the lock is held."""
        full = set[Lane]()
        for place in [*self._line]:
            if place.lane in full or not self._fits(place.tokens, place.lane):
                full.add(place.lane)
                continue
            self._line.remove(place)
            self._waiting[place.lane] += place.tokens
            place.loop.call_soon_threadsafe(place.entered.set)

    def _fits(self, tokens: int, lane: Lane) -> bool:
        """Whether a lane has room; what is larger than all of it gets in when nothing waits there, and keeps no other out."""
        return not self._waiting[lane] or self._waiting[lane] + tokens <= self._max_waiting * lane.share

    def _overloaded(self, tokens: int, lane: Lane) -> OverloadedError:
        seconds = self.waiting_tokens * self._seconds_per_token / len(self._threads)
        limit = round(self._max_waiting * lane.share)
        return OverloadedError(
            f"{self._waiting[lane]} tokens wait already, {limit} may, and these are {tokens} more: try again "
            f"in about {max(1, round(seconds))} s",
            max(1, min(60, round(seconds))),
        )

    def _leave(self, job: Job) -> None:
        """Forget what of a request did not start, because it is done or because nobody waits for it any more."""
        with self._work:
            if job.waiting:
                self._waiting[job.lane] -= job.tokens
                job.waiting.clear()
                self._jobs[job.lane][job.prepared.settings.task].remove(job)
                self._let_in()
                self._work.notify_all()

    def _serve(self, device: int) -> None:
        while taken := self._take():
            task, parts = taken
            try:
                self._run(task, parts, device)
            except Exception as error:  # of ours: the thread goes on
                log.exception("a batch could not be handed back")
                for job in dict.fromkeys(job for job, _ in parts):
                    job.settle(error)

    def _run(self, task: Task | None, parts: list[tuple[Job, TokenSequence]], device: int) -> None:
        start = time.monotonic()
        batch = Batch([sequence for _, sequence in parts])
        try:
            pooled = self._encoder.run(batch, task, device=device)
        except Exception as error:
            jobs = [*dict.fromkeys(job for job, _ in parts)]
            log.exception("a batch of %d tokens of %d requests failed", sum(batch.lengths), len(jobs))
            if len(jobs) == 1:
                jobs[0].settle(error)
            else:  # the others are not to suffer from the one that cannot be run
                for job in jobs:
                    self._run(task, [part for part in parts if part[0] is job], device)
            return
        self._scatter(parts, pooled)
        self._count(task, batch, parts, start)

    def _take(self) -> tuple[Task | None, list[tuple[Job, TokenSequence]]] | None:
        """The next batch: of the lane that has used least, its first request, filled up with its likes; None at the end."""
        with self._work:
            while not (lanes := [lane for lane in Lane if any(self._jobs[lane].values())]):
                if self._closed and not any(self._waiting.values()):  # what was let in may not be here yet
                    return None
                self._work.wait(1.0)
            lane = min(lanes, key=self._used.__getitem__)
            waiting = [jobs for jobs in self._jobs[lane].values() if jobs]
            jobs, room = min(waiting, key=lambda jobs: jobs[0].due), Room(self._encoder.max_batch_tokens)
            task = jobs[0].prepared.settings.task
            parts: list[tuple[Job, TokenSequence]] = []
            while jobs and room.take(len(jobs[0].waiting[0].ids)):
                job = jobs[0]
                parts.append((job, job.waiting.popleft()))
                if not job.waiting:
                    jobs.pop(0)
            self._waiting[lane] -= room.tokens
            self._clock = self._used[lane]
            self._used[lane] += room.tokens / lane.weight
            self._let_in()
            return task, parts

    def _scatter(self, parts: list[tuple[Job, TokenSequence]], pooled: Vectors) -> None:
        row = 0
        for job, sequence in parts:
            own = pooled[row : row + len(sequence.pools)]
            row += len(sequence.pools)
            if job.add(sequence, own):
                job.settle(job.prepared.finish(job.sums))

    def _count(self, task: Task | None, batch: Batch, parts: list[tuple[Job, TokenSequence]], start: float) -> None:
        tokens = sum(batch.lengths)
        seconds = (time.monotonic() - start) / tokens
        weight = SMOOTHING * min(1.0, tokens / self._encoder.max_batch_tokens)  # small batches say little of full ones
        self._seconds_per_token += weight * (seconds - self._seconds_per_token)
        waits = []
        for job in dict.fromkeys(job for job, _ in parts):
            if not job.started:
                job.started = True
                waits.append((job.route, start - job.arrived))
        self._on_batch(Ran(task, tokens, tokens / self._encoder.max_batch_tokens, waits))

    def close(self, timeout: float | None = None) -> None:
        """Take nothing new, run what waits, and end the threads; blocks until then, or for `timeout` seconds."""
        with self._work:
            self._closed = True
            self._work.notify_all()
            for place in self._line:
                place.loop.call_soon_threadsafe(place.entered.set)  # to be told
        deadline = None if timeout is None else time.monotonic() + timeout
        for thread in self._threads:
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))


def _closing() -> OverloadedError:
    return OverloadedError("the server is shutting down: ask another one, or again later", 5, 503)
