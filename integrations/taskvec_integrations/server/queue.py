"""What waits: lanes that share the encoder by weight, each with room of its own, and the order within them.

Knows tokens and time, nothing of what runs them. Its methods are called from the event loop, `take` from encoder threads.
"""

import asyncio
import threading
import time
from bisect import insort
from collections import defaultdict
from typing import NamedTuple

from taskvec import Task
from taskvec.packing import Room, TokenSequence
from taskvec_integrations.server.jobs import Job, Lane, Place

SLOWDOWN = 4.0
"""A request may wait this many times the seconds its own tokens take before nothing that comes later in its lane passes it."""


class OverloadedError(RuntimeError):
    """Too much waits already. `retry_after`: whole seconds until some of it will be done; `status`: of HTTP."""

    def __init__(self, message: str, retry_after: int, status: int = 429) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.status = status


class Taken(NamedTuple):
    """A batch to run: the sequences of some requests, all of one task."""

    task: Task | None
    parts: list[tuple[Job, TokenSequence]]


class Queue:
    """Requests by lane, bounded in tokens: one that does not fit waits up to `patience` seconds for room, then OverloadedError.

    One that is larger than all the room of its lane gets in when nothing waits there. `seconds_per_token`: kept by whoever runs
    the batches; `workers`: how many do.
    """

    def __init__(self, max_waiting_tokens: int, max_batch_tokens: int, patience: float, seconds_per_token: float) -> None:
        self.seconds_per_token = seconds_per_token
        self.workers = 1
        self._max_waiting = max_waiting_tokens
        self._max_batch = max_batch_tokens
        self._patience = patience
        self._jobs: dict[Lane, defaultdict[Task | None, list[Job]]] = {lane: defaultdict(list) for lane in Lane}
        self._used = dict.fromkeys(Lane, 0.0)  # tokens a lane has run, over its weight
        self._clock = 0.0  # what the lane had used that ran last
        self._waiting = dict.fromkeys(Lane, 0)
        self._work = threading.Condition()
        self._line: list[Place] = []
        self._closed = False

    @property
    def waiting_tokens(self) -> int:
        """Tokens that did not start yet."""
        return sum(self._waiting.values())

    def put(self, job: Job) -> None:
        """Let a request wait whose tokens were let in with `enter`."""
        with self._work:
            jobs = self._jobs[job.lane]
            if not any(jobs.values()):  # who had nothing to run has saved nothing up
                self._used[job.lane] = max(self._used[job.lane], self._clock)
            insort(jobs[job.prepared.settings.task], job, key=lambda job: job.due)
            self._work.notify_all()

    def due(self, tokens: int) -> float:
        """When a request that comes now is due, by the clock of time.monotonic()."""
        return time.monotonic() + SLOWDOWN * tokens * self.seconds_per_token

    async def enter(self, tokens: int, lane: Lane) -> None:
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
        seconds = self.waiting_tokens * self.seconds_per_token / self.workers
        limit = round(self._max_waiting * lane.share)
        return OverloadedError(
            f"{self._waiting[lane]} tokens wait already, {limit} may, and these are {tokens} more: try again "
            f"in about {max(1, round(seconds))} s",
            max(1, min(60, round(seconds))),
        )

    def leave(self, job: Job) -> None:
        """Forget what of a request did not start, because it is done or because nobody waits for it any more."""
        with self._work:
            if job.waiting:
                self._waiting[job.lane] -= job.tokens
                job.waiting.clear()
                self._jobs[job.lane][job.prepared.settings.task].remove(job)
                self._let_in()
                self._work.notify_all()

    def take(self) -> Taken | None:
        """The next batch: of the lane that has used least, its first request, filled up with its likes; None at the end."""
        with self._work:
            while not (lanes := [lane for lane in Lane if any(self._jobs[lane].values())]):
                if self._closed and not any(self._waiting.values()):  # what was let in may not be here yet
                    return None
                self._work.wait()
            lane = min(lanes, key=self._used.__getitem__)
            waiting = [jobs for jobs in self._jobs[lane].values() if jobs]
            jobs, room = min(waiting, key=lambda jobs: jobs[0].due), Room(self._max_batch)
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
            if self._closed:  # the others may be done
                self._work.notify_all()
            return Taken(task, parts)

    def close(self) -> None:
        """Refuse what comes and what waits for room; `take` goes on until nothing waits."""
        with self._work:
            self._closed = True
            self._work.notify_all()
            for place in self._line:
                place.loop.call_soon_threadsafe(place.entered.set)  # to be told


def _closing() -> OverloadedError:
    return OverloadedError("the server is shutting down: ask another one, or again later", 5, 503)
