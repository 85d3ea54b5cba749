"""The queue of requests: lanes that share the encoder by weight, each with room of its own, and the order within a lane.

Knows tokens and time, nothing of what runs them. Its methods are called from the event loop, `take_batch` from encoder threads.
"""

import asyncio
import threading
import time
from bisect import insort
from collections import defaultdict
from typing import NamedTuple

from taskvec import Task
from taskvec.packing import Room, TokenSequence
from taskvec_integrations.server.jobs import Admission, Job, Lane

MAX_SLOWDOWN = 4.0
"""A request's deadline is this many times the seconds that its own tokens take: later ones with less to do pass it until then."""
MAX_RETRY_SECONDS = 60
"""The longest that a client is asked to wait before it tries again."""


class OverloadedError(RuntimeError):
    """The server cannot take a request now.

    Attributes:
        retry_after: Whole seconds after which the client should try again.
        status: The HTTP status of the response, 429 where the queue is full.
    """

    def __init__(self, message: str, retry_after: int, status: int = 429) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.status = status


class ScheduledBatch(NamedTuple):
    """A batch to run: sequences of one or more requests, all of one task."""

    task: Task | None
    parts: list[tuple[Job, TokenSequence]]


class Queue:
    """Requests by lane, bounded in tokens.

    A request that does not fit waits for room. One that is larger than all the room of its lane is admitted when nothing waits
    there.

    Args:
        max_waiting_tokens: Tokens that may wait in all lanes together.
        max_batch_tokens: Tokens of a full batch.
        patience_seconds: How long a request waits for room before it is refused.
        seconds_per_token: The first estimate; whoever runs the batches keeps it up to date.

    Attributes:
        seconds_per_token: The running mean.
        workers: How many threads take batches.
    """

    def __init__(self, max_waiting_tokens: int, max_batch_tokens: int, patience_seconds: float, seconds_per_token: float) -> None:
        self.seconds_per_token = seconds_per_token
        self.workers = 1
        self._max_waiting_tokens = max_waiting_tokens
        self._max_batch_tokens = max_batch_tokens
        self._patience_seconds = patience_seconds
        self._jobs: dict[Lane, defaultdict[Task | None, list[Job]]] = {lane: defaultdict(list) for lane in Lane}
        self._virtual_time = dict.fromkeys(Lane, 0.0)  # tokens a lane has run, over its weight
        self._clock = 0.0  # the virtual time of the lane that ran last, before it ran
        self._waiting = dict.fromkeys(Lane, 0)  # tokens
        self._changed = threading.Condition()
        self._admissions: list[Admission] = []
        self._closed = False

    @property
    def waiting_tokens(self) -> int:
        """Tokens that have not started yet."""
        return sum(self._waiting.values())

    def put(self, job: Job) -> None:
        """Add a request whose tokens were admitted."""
        with self._changed:
            jobs = self._jobs[job.lane]
            if not any(jobs.values()):  # a lane that was idle has saved nothing up
                self._virtual_time[job.lane] = max(self._virtual_time[job.lane], self._clock)
            insort(jobs[job.prepared.settings.task], job, key=lambda job: job.deadline)
            self._changed.notify_all()

    def deadline(self, tokens: int) -> float:
        """The deadline of a request that comes now, by the clock of time.monotonic()."""
        return time.monotonic() + MAX_SLOWDOWN * tokens * self.seconds_per_token

    async def admit(self, tokens: int, lane: Lane) -> None:
        """Count tokens into the queue, at once or as soon as they fit, in the order of arrival within a lane.

        Raises:
            OverloadedError: There was no room in time, or the queue is closed.
        """
        with self._changed:
            if self._closed:
                raise _closed_error()
            if self._fits(tokens, lane) and not any(admission.lane is lane for admission in self._admissions):
                self._waiting[lane] += tokens
                return
            admission = Admission(tokens, lane, asyncio.get_running_loop())
            self._admissions.append(admission)
        try:
            await asyncio.wait_for(admission.decided.wait(), self._patience_seconds)
        except TimeoutError:
            if self._withdraw(admission):
                raise self._overloaded_error(tokens, lane) from None
        except BaseException:
            if not self._withdraw(admission):
                self._release(admission)
            raise
        else:
            if self._withdraw(admission):  # still there, so it was `close` that decided
                raise _closed_error()

    def _withdraw(self, admission: Admission) -> bool:
        """Stop waiting for room; returns whether the request was still waiting for it."""
        with self._changed:
            if admission not in self._admissions:
                return False
            self._admissions.remove(admission)
            return True

    def _release(self, admission: Admission) -> None:
        """Give up the room of a request that was admitted and never put."""
        with self._changed:
            self._waiting[admission.lane] -= admission.tokens
            self._admit_waiting()
            self._changed.notify_all()

    def _admit_waiting(self) -> None:
        """Admit the requests that fit by now, each lane in order. The lock must be held."""
        full = set[Lane]()
        for admission in [*self._admissions]:
            if admission.lane in full or not self._fits(admission.tokens, admission.lane):
                full.add(admission.lane)
                continue
            self._admissions.remove(admission)
            self._waiting[admission.lane] += admission.tokens
            admission.loop.call_soon_threadsafe(admission.decided.set)

    def _fits(self, tokens: int, lane: Lane) -> bool:
        """Whether a lane has room; a request larger than the whole lane fits when nothing waits there."""
        return not self._waiting[lane] or self._waiting[lane] + tokens <= self._max_waiting_tokens * lane.share

    def _overloaded_error(self, tokens: int, lane: Lane) -> OverloadedError:
        seconds = max(1, round(self.waiting_tokens * self.seconds_per_token / self.workers))
        limit = round(self._max_waiting_tokens * lane.share)
        return OverloadedError(
            f"{self._waiting[lane]} tokens wait for the encoder, the limit is {limit}, and this request has {tokens} more: "
            f"try again in about {seconds} s",
            min(MAX_RETRY_SECONDS, seconds),
        )

    def remove(self, job: Job) -> None:
        """Forget the sequences of a request that have not started, because nobody waits for it any more."""
        with self._changed:
            if job.waiting:
                self._waiting[job.lane] -= job.waiting_tokens
                job.waiting.clear()
                self._jobs[job.lane][job.prepared.settings.task].remove(job)
                self._admit_waiting()
                self._changed.notify_all()

    def take_batch(self) -> ScheduledBatch | None:
        """The next batch; blocks until there is one.

        The lane with the least virtual time is next. Its request with the earliest deadline chooses the task, and others of that
        task fill the batch up.

        Returns:
            The batch, or None when the queue is closed and empty.
        """
        with self._changed:
            while not (lanes := [lane for lane in Lane if any(self._jobs[lane].values())]):
                if self._closed and not any(self._waiting.values()):  # an admitted request may not have been put yet
                    return None
                self._changed.wait()
            lane = min(lanes, key=self._virtual_time.__getitem__)
            batch, tokens = self._fill_batch(lane)
            self._waiting[lane] -= tokens
            self._clock = self._virtual_time[lane]
            self._virtual_time[lane] += tokens / lane.weight
            self._admit_waiting()
            if self._closed:  # other threads may have nothing left to do
                self._changed.notify_all()
            return batch

    def _fill_batch(self, lane: Lane) -> tuple[ScheduledBatch, int]:
        """The next batch of a lane and its tokens. The lock must be held."""
        waiting = [jobs for jobs in self._jobs[lane].values() if jobs]
        jobs, room = min(waiting, key=lambda jobs: jobs[0].deadline), Room(self._max_batch_tokens)
        batch = ScheduledBatch(jobs[0].prepared.settings.task, [])
        while jobs and room.take(len(jobs[0].waiting[0].ids)):
            job = jobs[0]
            batch.parts.append((job, job.waiting.popleft()))
            if not job.waiting:
                jobs.pop(0)
        return batch, room.tokens

    def close(self) -> None:
        """Refuse requests that come or wait for room; `take_batch` continues until nothing waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            for admission in self._admissions:
                admission.loop.call_soon_threadsafe(admission.decided.set)


def _closed_error() -> OverloadedError:
    return OverloadedError("the server is shutting down: try again later", 5, 503)
