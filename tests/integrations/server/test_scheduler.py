"""The queue of the server, over a stand-in for the encoder that can be held: what runs next, what waits, what is refused."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import numpy as np
import pytest
import torch

from taskvec import Task, Usage
from taskvec.options import EncodeSettings
from taskvec.packing import Batch, Pool, TokenSequence
from taskvec.pipeline import Prepared
from taskvec.pooling import Vectors, normalize
from taskvec_integrations.server import scheduler as module
from taskvec_integrations.server.queue import OverloadedError
from taskvec_integrations.server.scheduler import Ran, Scheduler

WIDTH = 4
QUERY, PASSAGE = Task.RETRIEVAL_QUERY, Task.RETRIEVAL_PASSAGE


def vector_of(ids: Sequence[int]) -> Vectors:
    """What the stand-in makes of a pool: something that no other ids give."""
    return np.array([np.sum(ids), np.sum(np.square(ids)), len(ids), 1], dtype=np.float32)


class HeldEncoder:
    """Runs batches when it is told to, and remembers them as (task, lengths)."""

    dimensions = WIDTH
    max_batch_tokens = 10

    def __init__(self, devices: int = 1) -> None:
        self.devices = [torch.device("cpu")] * devices
        self.ran: list[tuple[Task | None, tuple[int, ...]]] = []
        self.go = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)
        self.bad: int | None = None

    def run(self, batch: Batch, task: Task | None, *, device: int = 0) -> Vectors:
        self.entered.release()
        assert self.go.acquire(timeout=10)
        self.ran.append((task, batch.lengths))
        if any(self.bad in sequence.ids for sequence in batch.sequences):
            raise MemoryError("too long")
        rows = [vector_of(sequence.ids[pool.tokens]) for sequence in batch.sequences for pool in sequence.pools]
        return np.array(rows, dtype=np.float32)

    async def is_busy(self) -> None:
        """Wait until a batch is in the encoder's hands."""
        assert await asyncio.to_thread(self.entered.acquire, timeout=10)

    def let(self, batches: int = 1000) -> None:
        self.go.release(batches)


def call(*lengths: int, task: Task | None = PASSAGE, first: int = 1) -> Prepared:
    """Texts of so many tokens, the ids of which count up from `first`."""
    sequences = []
    for row, length in enumerate(lengths):
        sequences.append(TokenSequence.whole(np.arange(first, first + length), row))
        first += length
    settings = EncodeSettings(task, WIDTH, "", True, True, False, Usage())
    return Prepared(sequences, len(lengths), Usage(len(lengths), sum(lengths)), settings)


def expected(prepared: Prepared) -> Vectors:
    return normalize(np.array([vector_of(sequence.ids) for sequence in prepared.sequences]))


Make = Callable[..., "asyncio.Task[Vectors]"]


@asynccontextmanager
async def scheduling(
    encoder: HeldEncoder, max_waiting: int = 10_000, patience: float = 5.0, **options: object
) -> AsyncIterator[Scheduler]:
    scheduler = Scheduler(encoder, max_waiting, patience, **options)  # type: ignore[arg-type]
    try:
        yield scheduler
    finally:
        encoder.let()
        await asyncio.to_thread(scheduler.close, 10)


async def submit(scheduler: Scheduler, prepared: Prepared) -> "asyncio.Task[Vectors]":
    """A request that is in the queue, or waits to be."""
    task = asyncio.ensure_future(scheduler(prepared))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


@pytest.fixture
def encoder() -> HeldEncoder:
    return HeldEncoder()


def test_requests_of_one_task_share_batches_and_each_gets_its_own_rows(encoder: HeldEncoder) -> None:
    async def run() -> None:
        async with scheduling(encoder) as scheduler:
            first = await submit(scheduler, call(1))
            await encoder.is_busy()
            calls = [call(3, 2, first=10), call(4, first=50), call(1, 1, 1, first=70), call(25, first=100)]
            answers = [await submit(scheduler, one) for one in calls]
            encoder.let()
            for one, answer in zip(calls, answers, strict=True):
                np.testing.assert_allclose(await answer, expected(one), rtol=1e-6)
            await first
        assert sorted(sum((lengths for _, lengths in encoder.ran), ())) == [1, 1, 1, 1, 2, 3, 4, 25]
        assert max(len(lengths) for _, lengths in encoder.ran) > 2
        assert all(sum(lengths) <= 10 or len(lengths) == 1 for _, lengths in encoder.ran)

    asyncio.run(run())


def test_pools_of_a_document_are_added_up_by_their_weights(encoder: HeldEncoder) -> None:
    """A chunk that two windows share, and one document in several sequences."""
    windows = [
        TokenSequence(np.arange(1, 9), (Pool(0, np.arange(4)), Pool(1, np.arange(4, 8), 0.25))),
        TokenSequence(np.arange(20, 28), (Pool(1, np.arange(8), 0.75),)),
    ]
    prepared = Prepared(windows, 2, Usage(1, 16), call(1).settings)

    async def run() -> Vectors:
        async with scheduling(encoder) as scheduler:
            encoder.let()
            return await scheduler(prepared)

    second = vector_of(np.arange(5, 9)) * 0.25 + vector_of(np.arange(20, 28)) * 0.75
    np.testing.assert_allclose(asyncio.run(run()), normalize(np.array([vector_of(np.arange(1, 5)), second])), rtol=1e-6)


def order_of(encoder: HeldEncoder, *waiting: Prepared) -> list[tuple[Task | None, tuple[int, ...]]]:
    """The batches in which requests run that all wait when the encoder comes free."""

    async def run() -> None:
        async with scheduling(encoder) as scheduler:
            first = await submit(scheduler, call(1, task=None))
            await encoder.is_busy()
            answers = [await submit(scheduler, one) for one in waiting]
            encoder.let()
            await asyncio.gather(first, *answers)

    asyncio.run(run())
    return encoder.ran[1:]


def test_a_batch_has_one_task(encoder: HeldEncoder) -> None:
    ran = order_of(encoder, call(2), call(2, task=QUERY), call(3), call(4, task=QUERY), call(5, task=None))
    assert sorted(ran, key=str) == sorted([(QUERY, (2, 4)), (PASSAGE, (2, 3)), (None, (5,))], key=str)


def test_queries_pass_what_is_indexed(encoder: HeldEncoder) -> None:
    assert order_of(encoder, call(10, 10, 10), call(2, task=QUERY))[0] == (QUERY, (2,))


def test_short_requests_pass_long_ones(encoder: HeldEncoder) -> None:
    assert (PASSAGE, (1,)) in order_of(encoder, call(*[10] * 50), call(1))[:2]


def test_less_passes_more_in_one_lane(encoder: HeldEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_GUESS", 0.01)
    ran = order_of(encoder, call(*[10] * 50), call(6))
    assert ran[0] == (PASSAGE, (6,))


def test_a_query_is_in_the_next_batch_however_long_others_wait(encoder: HeldEncoder) -> None:
    async def run() -> None:
        async with scheduling(encoder) as scheduler:
            bulk = [await submit(scheduler, call(10, first=i)) for i in range(30)]
            for number in range(1, 6):
                await encoder.is_busy()
                query = await submit(scheduler, call(2, task=QUERY))
                encoder.let(2)
                await query
                assert encoder.ran[-1] == (QUERY, (2,)), number
                await encoder.is_busy()
            encoder.let()
            await asyncio.gather(*bulk)

    asyncio.run(run())


def shares_of(encoder: HeldEncoder, batches: int, *lanes: tuple[Task | None, int]) -> list[int]:
    """How many of so many batches each lane gets that always has more; a lane is a task and the tokens of its requests."""

    async def run() -> list[int]:
        async with scheduling(encoder) as scheduler:
            first = await submit(scheduler, call(1, task=None))
            await encoder.is_busy()
            waiting = [await submit(scheduler, call(tokens, task=task)) for task, tokens in lanes for _ in range(batches * 10)]
            encoder.let(1)
            await encoder.is_busy()
            for _ in range(batches):
                encoder.let(1)
                await encoder.is_busy()
            ran = encoder.ran[1 : batches + 1]
            encoder.let()
            await asyncio.gather(first, *waiting)
            return [sum(one == task and lengths[0] == tokens for one, lengths in ran) for task, tokens in lanes]

    return asyncio.run(run())


def test_lanes_share_by_their_weights(encoder: HeldEncoder) -> None:
    assert shares_of(encoder, 26, (QUERY, 10), (PASSAGE, 1), (PASSAGE, 10)) == [16, 8, 2]


def test_a_lane_that_was_idle_has_saved_nothing_up(encoder: HeldEncoder) -> None:
    """After a hundred batches of queries alone, what is indexed gets its share and no more."""

    async def run() -> None:
        async with scheduling(encoder) as scheduler:
            encoder.let(100)
            for _ in range(100):
                await scheduler(call(10, task=QUERY))
            waiting = [await submit(scheduler, call(10, task=task)) for task in (QUERY, PASSAGE) for _ in range(40)]
            encoder.let()
            await asyncio.gather(*waiting)

    asyncio.run(run())
    assert [task for task, _ in encoder.ran[101:120]].count(PASSAGE) <= 3


def test_long_texts_of_a_request_run_together(encoder: HeldEncoder) -> None:
    assert [lengths for _, lengths in order_of(encoder, call(1, 9, 2, 8, 3, 7))] == [(9,), (8,), (7, 3), (2, 1)]


def test_how_long_to_wait_follows_from_what_waits(encoder: HeldEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_GUESS", 0.5)

    async def run() -> None:
        async with scheduling(encoder, max_waiting=60, patience=0.01) as scheduler:
            running = await submit(scheduler, call(10))
            await encoder.is_busy()
            waiting = await submit(scheduler, call(20))
            with pytest.raises(OverloadedError, match="try again in about 10 s") as refused:
                await scheduler(call(20))
            assert refused.value.retry_after == 10
            encoder.let()
            await asyncio.gather(running, waiting)

    asyncio.run(run())


def test_nothing_starves(encoder: HeldEncoder) -> None:
    """Queries without end, always more of them: what is indexed has its share."""

    async def run() -> None:
        async with scheduling(encoder) as scheduler:
            queries = [await submit(scheduler, call(10, task=QUERY))]
            bulk = await submit(scheduler, call(10))
            for _ in range(200):
                queries += [await submit(scheduler, call(10, task=QUERY)) for _ in range(2)]
                encoder.let(1)
                await asyncio.sleep(0.005)
                if bulk.done():
                    break
            assert bulk.done()
            assert len(encoder.ran) <= 12  # one batch in nine
            assert not all(query.done() for query in queries)
            encoder.let()
            await asyncio.gather(*queries)

    asyncio.run(run())


def test_what_does_not_fit_waits_for_room_and_is_refused_when_none_comes(encoder: HeldEncoder) -> None:
    async def run() -> None:
        async with scheduling(encoder, max_waiting=60, patience=0.2) as scheduler:
            running = await submit(scheduler, call(10))
            await encoder.is_busy()
            waiting = [await submit(scheduler, call(10, first=i)) for i in range(1, 4)]
            assert scheduler.waiting_tokens == 30
            with pytest.raises(OverloadedError, match=r"30 tokens wait already, 30 may, and these are 7 more") as refused:
                await scheduler(call(7))
            assert refused.value.retry_after >= 1
            late = await submit(scheduler, call(7))
            assert scheduler.waiting_tokens == 30
            encoder.let(1)
            await encoder.is_busy()
            await asyncio.sleep(0.02)
            assert scheduler.waiting_tokens == 27
            encoder.let()
            np.testing.assert_allclose(await late, expected(call(7)), rtol=1e-6)
            await asyncio.gather(running, *waiting)
            assert scheduler.waiting_tokens == 0

    asyncio.run(run())


def test_a_request_larger_than_the_queue_gets_in_when_nothing_waits(encoder: HeldEncoder) -> None:
    async def run() -> None:
        async with scheduling(encoder, max_waiting=5) as scheduler:
            encoder.let()
            assert (await scheduler(call(9, 9, 9))).shape == (3, WIDTH)

    asyncio.run(run())


@pytest.mark.parametrize("place", ["in the queue", "in the line for it"])
def test_a_cancelled_request_leaves(encoder: HeldEncoder, place: str) -> None:
    async def run() -> None:
        async with scheduling(encoder, max_waiting=20 if place == "in the line for it" else 200) as scheduler:
            running = await submit(scheduler, call(10))
            await encoder.is_busy()
            waiting = await submit(scheduler, call(10, first=20))
            gone = await submit(scheduler, call(9, first=40))
            before = scheduler.waiting_tokens
            gone.cancel()
            await asyncio.wait([gone])
            assert scheduler.waiting_tokens == 10
            assert before == (10 if place == "in the line for it" else 19)
            encoder.let()
            await asyncio.gather(running, waiting)
            assert scheduler.waiting_tokens == 0
        assert (PASSAGE, (9,)) not in encoder.ran

    asyncio.run(run())


def test_a_text_that_cannot_be_run_takes_no_other_with_it(encoder: HeldEncoder) -> None:
    async def run() -> None:
        encoder.bad = 666
        async with scheduling(encoder) as scheduler:
            running = await submit(scheduler, call(1))
            await encoder.is_busy()
            good, bad, other = [await submit(scheduler, one) for one in (call(2, first=5), call(2, first=666), call(2, first=9))]
            encoder.let()
            np.testing.assert_allclose(await good, expected(call(2, first=5)), rtol=1e-6)
            np.testing.assert_allclose(await other, expected(call(2, first=9)), rtol=1e-6)
            with pytest.raises(MemoryError, match="too long"):
                await bad
            await running
            assert scheduler.waiting_tokens == 0

    asyncio.run(run())


def test_closing_runs_what_waits_and_refuses_what_comes(encoder: HeldEncoder) -> None:
    async def run() -> None:
        async with scheduling(encoder) as scheduler:
            answers = [await submit(scheduler, call(10, first=i)) for i in (1, 20, 40)]
            closing = asyncio.ensure_future(asyncio.to_thread(scheduler.close, 10))
            await asyncio.sleep(0.05)
            with pytest.raises(OverloadedError, match="shutting down") as refused:
                await scheduler(call(1))
            assert refused.value.status == 503
            encoder.let()
            assert [len(answer) for answer in await asyncio.gather(*answers)] == [1, 1, 1]
            await closing

    asyncio.run(run())


def test_a_large_request_keeps_no_query_out(encoder: HeldEncoder) -> None:
    async def run() -> None:
        async with scheduling(encoder, max_waiting=40, patience=0.1) as scheduler:
            bulk = await submit(scheduler, call(*[10] * 30))
            await encoder.is_busy()
            query = await submit(scheduler, call(8, task=QUERY))
            encoder.let(2)
            await query
            encoder.let()
            await bulk

    asyncio.run(run())


def test_what_waits_for_room_is_not_passed_in_its_lane(encoder: HeldEncoder) -> None:
    async def run() -> None:
        async with scheduling(encoder, max_waiting=40) as scheduler:  # 20 of which are the lane's
            running = await submit(scheduler, call(10))
            await encoder.is_busy()
            waiting = [await submit(scheduler, call(10, first=20)), await submit(scheduler, call(10, first=30))]
            first = await submit(scheduler, call(5, 5, 5, first=40))
            later = await submit(scheduler, call(4, first=60))
            encoder.let(1)
            await encoder.is_busy()
            await asyncio.sleep(0.02)
            assert scheduler.waiting_tokens == 10  # the later one would fit
            encoder.let()
            await asyncio.gather(running, *waiting, first, later)

    asyncio.run(run())


def test_closing_ends_the_threads_of_all_devices() -> None:
    encoder = HeldEncoder(devices=3)

    async def run() -> None:
        async with scheduling(encoder) as scheduler:
            answer = await submit(scheduler, call(10))
            await encoder.is_busy()
            closing = asyncio.ensure_future(asyncio.to_thread(scheduler.close, 10))
            await asyncio.sleep(0.05)
            encoder.let()
            await answer
            await closing
            assert not any(thread.is_alive() for thread in scheduler._threads)

    asyncio.run(run())


def test_room_that_is_given_back_goes_to_the_next(encoder: HeldEncoder) -> None:
    """Cancelled just after it was let in: the one behind it must not wait for a batch that will never run."""

    async def run() -> None:
        async with scheduling(encoder, max_waiting=20, patience=5) as scheduler:
            running = await submit(scheduler, call(10))
            await encoder.is_busy()
            full, first, second = [await submit(scheduler, call(10, first=i)) for i in (20, 40, 60)]
            full.cancel()  # lets `first` in, which is told in the next turn of the loop
            await asyncio.sleep(0)
            first.cancel()
            encoder.let()
            np.testing.assert_allclose(await second, expected(call(10, first=60)), rtol=1e-6)
            await running

    asyncio.run(run())


def test_a_failure_of_ours_ends_no_thread(encoder: HeldEncoder) -> None:
    def fails(ran: Ran) -> None:
        if ran.tokens == 3:
            raise OSError("no more room for metrics")

    async def run() -> None:
        async with scheduling(encoder, on_batch=fails) as scheduler:
            encoder.let()
            await scheduler(call(3))
            assert (await scheduler(call(4))).shape == (1, WIDTH)
            assert scheduler.alive

    asyncio.run(run())


def test_one_request_is_shared_by_the_devices() -> None:
    encoder = HeldEncoder(devices=2)

    async def run() -> None:
        async with scheduling(encoder) as scheduler:
            answer = await submit(scheduler, call(10, 10, 10, 10))
            await encoder.is_busy()
            await encoder.is_busy()
            encoder.let()
            np.testing.assert_allclose(await answer, expected(call(10, 10, 10, 10)), rtol=1e-6)

    asyncio.run(run())


def test_each_device_has_a_thread() -> None:
    encoder = HeldEncoder(devices=2)

    async def run() -> None:
        async with scheduling(encoder) as scheduler:
            answers = [await submit(scheduler, call(10, first=i)) for i in (1, 20)]
            await encoder.is_busy()
            await encoder.is_busy()  # both are at work before either is let go
            encoder.let()
            await asyncio.gather(*answers)

    asyncio.run(run())


def test_batches_are_told_of(encoder: HeldEncoder) -> None:
    ran: list[Ran] = []

    async def run() -> None:
        async with scheduling(encoder, on_batch=ran.append) as scheduler:
            encoder.let()
            await scheduler(call(10, 5))

    asyncio.run(run())
    assert [(one.task, one.tokens, one.fill, len(one.waits)) for one in ran] == [(PASSAGE, 10, 1.0, 1), (PASSAGE, 5, 0.5, 0)]


def test_a_call_without_texts_needs_no_encoder(encoder: HeldEncoder) -> None:
    async def run() -> Vectors:
        async with scheduling(encoder) as scheduler:
            return await scheduler(call())

    assert asyncio.run(run()).shape == (0, WIDTH)
