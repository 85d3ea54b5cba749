"""Batches by tokens across requests: one thread a device takes what is next from the queue, runs it, hands the vectors out.

Knows prepared calls (token sequences), nothing of HTTP. Requests wait in lanes (queue.py): queries, short ones, long ones. Lanes
share the encoder by weight while they have something waiting (start-time fair queueing, Goyal et al. 1996), so a query is in the
next batch however much is being indexed, and indexing goes on however many queries come. Within a lane the request that is
due first chooses the batch's task, of which there is one; it is due the later the more tokens it has.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import torch

from taskvec import Task
from taskvec.integration import Vectors
from taskvec.packing import Batch, TokenSequence
from taskvec.pipeline import Prepared
from taskvec_integrations.server.jobs import Job, Lane
from taskvec_integrations.server.queue import Queue

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


class Ran(NamedTuple):
    """One batch that ran, for whoever counts: its task, tokens, the share of a full batch that they are.

    waits: of the requests that it is the first batch of, the route and the seconds.
    """

    task: Task | None
    tokens: int
    fill: float
    waits: list[tuple[str, float]]


class Scheduler:
    """A queue of requests, and the threads that empty it. `close` refuses what comes and runs what waits.

    max_waiting_tokens, patience: see `Queue`. on_batch is told of each batch, in the thread that ran it.
    """

    def __init__(
        self,
        encoder: BatchRunner,
        max_waiting_tokens: int,
        patience: float,
        on_batch: Callable[[Ran], None] = lambda _: None,
    ) -> None:
        self._encoder = encoder
        self._on_batch = on_batch
        self._queue = Queue(max_waiting_tokens, encoder.max_batch_tokens, patience, FIRST_GUESS)
        self._threads = [
            threading.Thread(target=self._serve, args=(device,), name=f"taskvec-encoder-{device}", daemon=True)
            for device in range(len(encoder.devices))
        ]
        self._queue.workers = len(self._threads)
        for thread in self._threads:
            thread.start()

    @property
    def waiting_tokens(self) -> int:
        """Tokens in the queue that did not start yet."""
        return self._queue.waiting_tokens

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
        await self._queue.enter(tokens, lane)
        loop = asyncio.get_running_loop()
        job = Job(prepared, lane, self._queue.due(tokens), loop.create_future(), loop, route)
        job.start(self._encoder.dimensions)
        self._queue.put(job)
        try:
            return await job.future
        finally:
            self._queue.leave(job)

    def _serve(self, device: int) -> None:
        while taken := self._queue.take():
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
        self._queue.seconds_per_token += weight * (seconds - self._queue.seconds_per_token)
        waits = []
        for job in dict.fromkeys(job for job, _ in parts):
            if not job.started:
                job.started = True
                waits.append((job.route, start - job.arrived))
        self._on_batch(Ran(task, tokens, tokens / self._encoder.max_batch_tokens, waits))

    def close(self, timeout: float | None = None) -> None:
        """Take nothing new, run what waits, and end the threads; blocks until then, or for `timeout` seconds."""
        self._queue.close()
        deadline = None if timeout is None else time.monotonic() + timeout
        for thread in self._threads:
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
