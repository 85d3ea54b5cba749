"""Batches by tokens across requests: one thread a device takes the next batch from the queue, runs it and hands out its vectors.

Knows prepared requests (token sequences), nothing of HTTP. Requests wait in lanes (queue.py): queries, short ones, long ones.
Lanes share the encoder by weight while they have something waiting (start-time fair queueing, Goyal et al. 1996). So a query is
in the next batch however much is being indexed, and indexing continues however many queries come. Within a lane the request with
the earliest deadline chooses the task of the batch. A request with more tokens has a later deadline.
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
from taskvec.packing import Batch
from taskvec.pipeline import Prepared
from taskvec_integrations.server.jobs import Job, Lane
from taskvec_integrations.server.queue import Queue, ScheduledBatch

SMOOTHING = 0.2
"""Weight of the newest batch in the running mean of the seconds that a token takes."""
INITIAL_SECONDS_PER_TOKEN = 1e-4
"""The estimate before any batch was measured."""

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


class BatchStats(NamedTuple):
    """What a batch that ran counts for metrics.

    Attributes:
        task: Its task, None for the bare model.
        tokens: Its tokens.
        fill: Its tokens as a share of a full batch.
        waits: For each request whose first batch it is, the route and the seconds that the request waited.
    """

    task: Task | None
    tokens: int
    fill: float
    waits: list[tuple[str, float]]


class Scheduler:
    """A queue of requests and the threads that empty it.

    Args:
        encoder: Runs the batches.
        max_waiting_tokens: Tokens that may wait.
        patience_seconds: How long a request waits for room in the queue before it is refused.
        on_batch: Called with each batch that ran, in the thread that ran it.
    """

    def __init__(
        self,
        encoder: BatchRunner,
        max_waiting_tokens: int,
        patience_seconds: float,
        on_batch: Callable[[BatchStats], None] = lambda _: None,
    ) -> None:
        self._encoder = encoder
        self._on_batch = on_batch
        self._queue = Queue(max_waiting_tokens, encoder.max_batch_tokens, patience_seconds, INITIAL_SECONDS_PER_TOKEN)
        self._threads = [
            threading.Thread(target=self._run_batches, args=(device,), name=f"taskvec-encoder-{device}", daemon=True)
            for device in range(len(encoder.devices))
        ]
        self._queue.workers = len(self._threads)
        for thread in self._threads:
            thread.start()

    @property
    def waiting_tokens(self) -> int:
        """Tokens in the queue that have not started yet."""
        return self._queue.waiting_tokens

    @property
    def alive(self) -> bool:
        """Whether the threads of all devices are running."""
        return all(thread.is_alive() for thread in self._threads)

    def warm(self, prepared: Prepared) -> None:
        """Run a request on every device at once, past the queue, so that later ones do not pay for merging weights."""
        for device in range(len(self._encoder.devices)):
            self._encoder.run(Batch(prepared.sequences), prepared.settings.task, device=device)

    async def submit(self, prepared: Prepared, route: str = "") -> Vectors:
        """Queue a request and wait for its vectors. Cancelling takes it out of the queue.

        Args:
            prepared: The request's token sequences.
            route: The route that it came by, for metrics.

        Returns:
            The vectors, (rows, dimensions).

        Raises:
            OverloadedError: The queue has no room for it.
        """
        if not prepared.sequences:
            return prepared.finish(np.zeros((prepared.rows, self._encoder.dimensions), dtype=np.float32))
        tokens = prepared.usage.tokens
        lane = Lane.for_request(prepared, self._encoder.max_batch_tokens)
        await self._queue.admit(tokens, lane)
        loop = asyncio.get_running_loop()
        deadline = self._queue.deadline(tokens)
        job = Job(prepared, lane, deadline, loop.create_future(), loop, self._encoder.dimensions, route)
        self._queue.put(job)
        try:
            return await job.future
        finally:
            self._queue.remove(job)

    def _run_batches(self, device: int) -> None:
        while batch := self._queue.take_batch():
            try:
                self._run(batch, device)
            except Exception as error:  # a failure of the server, not of the encoder: the thread continues
                log.exception("the vectors of a batch could not be handed out")
                for job in _jobs(batch):
                    job.resolve(error)

    def _run(self, scheduled: ScheduledBatch, device: int) -> None:
        start = time.monotonic()
        batch = Batch([sequence for _, sequence in scheduled.parts])
        try:
            pooled = self._encoder.run(batch, scheduled.task, device=device)
        except Exception as error:
            self._run_each_alone(scheduled, device, error)
            return
        self._hand_out(scheduled, pooled)
        self._measure(scheduled, start)

    def _run_each_alone(self, scheduled: ScheduledBatch, device: int, error: Exception) -> None:
        """Run the requests of a batch that failed one by one, so that only the one that cannot be run fails."""
        jobs = _jobs(scheduled)
        log.error("a batch of %d tokens of %d requests failed", _tokens(scheduled), len(jobs), exc_info=error)
        if len(jobs) == 1:
            jobs[0].resolve(error)
            return
        for job in jobs:
            self._run(ScheduledBatch(scheduled.task, [part for part in scheduled.parts if part[0] is job]), device)

    def _hand_out(self, scheduled: ScheduledBatch, pooled: Vectors) -> None:
        row = 0
        for job, sequence in scheduled.parts:
            pools = pooled[row : row + len(sequence.pools)]
            row += len(sequence.pools)
            if job.add(sequence, pools):
                job.resolve(job.prepared.finish(job.sums))

    def _measure(self, scheduled: ScheduledBatch, start: float) -> None:
        tokens = _tokens(scheduled)
        seconds_per_token = (time.monotonic() - start) / tokens
        fill = tokens / self._encoder.max_batch_tokens
        weight = SMOOTHING * min(1.0, fill)  # small batches say little of full ones
        self._queue.seconds_per_token += weight * (seconds_per_token - self._queue.seconds_per_token)
        waits = []
        for job in _jobs(scheduled):
            if not job.started:
                job.started = True
                waits.append((job.route, start - job.arrival))
        self._on_batch(BatchStats(scheduled.task, tokens, fill, waits))

    def close(self, timeout: float | None = None) -> None:
        """Refuse new requests, run those that wait, and end the threads.

        Args:
            timeout: Seconds to wait for the threads, None for as long as it takes.
        """
        self._queue.close()
        deadline = None if timeout is None else time.monotonic() + timeout
        for thread in self._threads:
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))


def _jobs(scheduled: ScheduledBatch) -> list[Job]:
    return [*dict.fromkeys(job for job, _ in scheduled.parts)]


def _tokens(scheduled: ScheduledBatch) -> int:
    return sum(len(sequence.ids) for _, sequence in scheduled.parts)
