"""A request that waits: its lane, what of it did not start yet, and its vectors as they are added up."""

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

SHORT = 8
"""A request of up to one part in so many of a full batch is a short one."""


class Lane(Enum):
    """Where a request waits: its weight, by which the encoder is shared, and its share of the tokens that may wait."""

    QUERY = (8, 0.25)
    SHORT = (4, 0.25)
    LONG = (1, 0.5)

    def __init__(self, weight: int, share: float) -> None:
        self.weight = weight
        self.share = share

    @classmethod
    def of(cls, prepared: Prepared, max_batch_tokens: int) -> "Lane":
        """The lane of a request."""
        if prepared.settings.task is QUERY_TASK:
            return cls.QUERY
        return cls.SHORT if prepared.usage.tokens * SHORT <= max_batch_tokens else cls.LONG


@dataclass(eq=False)
class Job:
    """A request in the queue: the sequences that did not start yet and the sums of those that ran."""

    prepared: Prepared
    lane: Lane
    due: float
    future: asyncio.Future[Vectors]
    loop: asyncio.AbstractEventLoop
    route: str = ""
    arrived: float = field(default_factory=time.monotonic)
    waiting: deque[TokenSequence] = field(init=False)
    left: int = field(init=False)
    sums: Vectors = field(init=False)
    started: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, width: int) -> None:
        """Get ready to be added up; long sequences first, so that those of a batch are alike."""
        self.waiting = deque(sorted(self.prepared.sequences, key=lambda sequence: -len(sequence.ids)))
        self.left = len(self.waiting)
        self.sums = np.zeros((self.prepared.rows, width), dtype=np.float32)

    @property
    def tokens(self) -> int:
        """Tokens that did not start yet."""
        return sum(len(sequence.ids) for sequence in self.waiting)

    def add(self, sequence: TokenSequence, pooled: Vectors) -> bool:
        """Add the pools of a sequence that ran; whether it was the last."""
        with self.lock:  # windows of one chunk may run on two devices
            for pool, vector in zip(sequence.pools, pooled, strict=True):
                self.sums[pool.row] += vector * np.float32(pool.weight)
            self.left -= 1
            return self.left == 0

    def settle(self, result: Vectors | BaseException) -> None:
        """Hand the outcome to the coroutine that waits, if it still does."""

        def set_it() -> None:
            if not self.future.done():
                if isinstance(result, BaseException):
                    self.future.set_exception(result)
                else:
                    self.future.set_result(result)

        self.loop.call_soon_threadsafe(set_it)


@dataclass(eq=False)
class Place:
    """A request that waits for room in the queue."""

    tokens: int
    lane: Lane
    loop: asyncio.AbstractEventLoop
    entered: asyncio.Event = field(default_factory=asyncio.Event)
