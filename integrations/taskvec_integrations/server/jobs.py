"""A request in the queue: its lane, its sequences that have not started yet, and its vectors as they are added up."""

import asyncio
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from taskvec.integration import QUERY_TASK, Vectors
from taskvec.packing import TokenSequence
from taskvec.pipeline import Prepared

SHORT_REQUEST_BATCH_SHARE = 1 / 8
"""A request of at most this share of a full batch's tokens is a short one."""


class Lane(Enum):
    """Where a request waits.

    Attributes:
        weight: The share of the encoder that the lane gets, relative to the other lanes that have something waiting.
        share: The share of the tokens that may wait which the lane has for itself.
    """

    QUERY = (8, 0.25)
    SHORT = (4, 0.25)
    LONG = (1, 0.5)

    def __init__(self, weight: int, share: float) -> None:
        self.weight = weight
        self.share = share

    @classmethod
    def for_request(cls, prepared: Prepared, max_batch_tokens: int) -> "Lane":
        """The lane that a request waits in."""
        if prepared.settings.task is QUERY_TASK:
            return cls.QUERY
        return cls.SHORT if prepared.usage.tokens <= max_batch_tokens * SHORT_REQUEST_BATCH_SHARE else cls.LONG


@dataclass(eq=False)
class Job:
    """A request in the queue.

    Attributes:
        prepared: The request's token sequences.
        lane: Where it waits.
        deadline: When it should start, by the clock of time.monotonic(); the earliest in a lane runs first.
        future: Gets the vectors, in `loop`.
        width: The length of a vector before it is cut, in dimensions.
        route: The route that it came by, for metrics.
        arrival: When it came, by the same clock.
        waiting: The sequences that have not started yet, long ones first, so that those of a batch are alike.
        unfinished: The number of sequences that have not been added yet.
        sums: The weighted sums of the pools that were added, (rows, width).
        started: Whether its first batch has run.
    """

    prepared: Prepared
    lane: Lane
    deadline: float
    future: asyncio.Future[Vectors]
    loop: asyncio.AbstractEventLoop
    width: int
    route: str = ""
    arrival: float = field(default_factory=time.monotonic)
    waiting: deque[TokenSequence] = field(init=False)
    unfinished: int = field(init=False)
    sums: Vectors = field(init=False)
    started: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.waiting = deque(sorted(self.prepared.sequences, key=lambda sequence: -len(sequence.ids)))
        self.unfinished = len(self.waiting)
        self.sums = np.zeros((self.prepared.rows, self.width), dtype=np.float32)

    @property
    def waiting_tokens(self) -> int:
        """Tokens of the sequences that have not started yet."""
        return sum(len(sequence.ids) for sequence in self.waiting)

    def add(self, sequence: TokenSequence, pooled: Vectors) -> bool:
        """Add the pools of a sequence that ran, (its pools, width); returns whether it was the last one."""
        with self.lock:  # windows of one chunk may run on two devices
            for pool, vector in zip(sequence.pools, pooled, strict=True):
                self.sums[pool.row] += vector * np.float32(pool.weight)
            self.unfinished -= 1
            return self.unfinished == 0

    def resolve(self, result: Vectors | BaseException) -> None:
        """Hand the vectors or the error to the coroutine that waits, if it still does. May be called from any thread."""

        def resolve_future() -> None:
            if not self.future.done():
                if isinstance(result, BaseException):
                    self.future.set_exception(result)
                else:
                    self.future.set_result(result)

        self.loop.call_soon_threadsafe(resolve_future)


@dataclass(eq=False)
class Admission:
    """A request that waits for room in the queue; `decided` is set when it is admitted, and when the queue closes."""

    tokens: int
    lane: Lane
    loop: asyncio.AbstractEventLoop
    decided: asyncio.Event = field(default_factory=asyncio.Event)
