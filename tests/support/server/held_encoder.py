"""Stand-ins for an encoder that run a batch when a test lets them, and a scheduler over them."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, ParamSpec

import numpy as np
import torch

from support.server.waiting import GUARD_SECONDS
from taskvec import Encoder, Task, Usage
from taskvec.integration import Vectors
from taskvec.options import Settings
from taskvec.packing import Batch, TokenSequence
from taskvec.pipeline import Prepared
from taskvec_integrations.server.scheduler import BatchStats, Scheduler

P = ParamSpec("P")
WIDTH = 4
PASSAGE = Task.RETRIEVAL_PASSAGE
ALL = 1_000_000
"""More batches than any test has."""


def in_event_loop(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Make a test of a coroutine function."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def call() -> None:
            await test(*args, **kwargs)

        asyncio.run(call())

    return run


class Gate:
    """Holds threads that pass until a test lets them, and says when one has come."""

    def __init__(self) -> None:
        self._allowed = threading.Semaphore(0)
        self._arrived = threading.Semaphore(0)

    def pass_through(self) -> None:
        """Come, and wait to be let through."""
        self._arrived.release()
        assert self._allowed.acquire(timeout=GUARD_SECONDS)

    def let(self, count: int = ALL) -> None:
        """Let so many through."""
        self._allowed.release(count)

    def wait(self) -> None:
        """Return when one more has come."""
        assert self._arrived.acquire(timeout=GUARD_SECONDS)


def vector_of(ids: Sequence[int] | np.ndarray[Any, Any]) -> Vectors:
    """What the stand-in makes of a pool: something that no other ids give."""
    return np.array([np.sum(ids), np.sum(np.square(ids)), len(ids), 1], dtype=np.float32)


def unit(rows: Sequence[Vectors]) -> Vectors:
    """The rows at unit length."""
    stacked = np.array(rows, dtype=np.float32)
    lengths: Vectors = np.linalg.norm(stacked, axis=1, keepdims=True)
    return np.divide(stacked, lengths)


class HeldEncoder:
    """Runs batches when it is let, and remembers them as (task, lengths). A batch with the id `bad` fails."""

    dimensions = WIDTH
    max_batch_tokens = 10

    def __init__(self, devices: int = 1) -> None:
        self.devices = [torch.device("cpu")] * devices
        self.ran: list[tuple[Task | None, tuple[int, ...]]] = []
        self.gate = Gate()
        self.bad: int | None = None

    def run(self, batch: Batch, task: Task | None, *, device: int = 0) -> Vectors:
        """The pools of a batch."""
        self.gate.pass_through()
        self.ran.append((task, batch.lengths))
        if any(self.bad in sequence.ids for sequence in batch.sequences):
            raise MemoryError("too long")
        rows = [vector_of(sequence.ids[pool.tokens]) for sequence in batch.sequences for pool in sequence.pools]
        return np.array(rows, dtype=np.float32)

    def let(self, batches: int = ALL) -> None:
        """Run so many batches."""
        self.gate.let(batches)

    async def is_busy(self) -> None:
        """Return when one more batch is in the encoder's hands."""
        await asyncio.to_thread(self.gate.wait)


class HeldMini:
    """The mini with batches that wait until they are let, once it is `held`; counts the tokens that ran."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.gate = Gate()
        self.held = False
        self.tokens = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def run(self, batch: Batch, task: Task | None, *, device: int = 0) -> Vectors:
        """The pools of a batch."""
        if self.held:
            self.gate.pass_through()
        self.tokens += sum(batch.lengths)
        return self._encoder.run(batch, task, device=device)


def request_of(*lengths: int, task: Task | None = PASSAGE, first: int = 1) -> Prepared:
    """Texts of so many tokens, the ids of which count up from `first`."""
    sequences = []
    for row, length in enumerate(lengths):
        sequences.append(TokenSequence.whole(np.arange(first, first + length), row))
        first += length
    settings = Settings(task, WIDTH, "", True, True, False, Usage())
    return Prepared(sequences, len(lengths), Usage(len(lengths), sum(lengths)), settings)


def expected(prepared: Prepared) -> Vectors:
    """The vectors of a request by the stand-in."""
    return unit([vector_of(sequence.ids) for sequence in prepared.sequences])


@asynccontextmanager
async def scheduling(
    encoder: HeldEncoder,
    max_waiting_tokens: int = 10_000,
    patience_seconds: float = GUARD_SECONDS,
    on_batch: Callable[[BatchStats], None] = lambda _: None,
) -> AsyncIterator[Scheduler]:
    """A scheduler; what waits at the end of the block is run."""
    scheduler = Scheduler(encoder, max_waiting_tokens, patience_seconds, on_batch)
    try:
        yield scheduler
    finally:
        encoder.let()
        await asyncio.to_thread(scheduler.close, GUARD_SECONDS)


async def enqueue(scheduler: Scheduler, prepared: Prepared) -> "asyncio.Task[Vectors]":
    """A request that is in the queue, or waits for room in it."""
    task = asyncio.ensure_future(scheduler.submit(prepared))
    for _ in range(2):
        await asyncio.sleep(0)
    return task
