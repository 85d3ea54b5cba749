"""The queue of the server, over a stand-in for the encoder that can be held: what runs next, what waits, what is refused."""

import asyncio

import numpy as np
import pytest

from support.server.held_encoder import PASSAGE, WIDTH, HeldEncoder, enqueue, expected, in_event_loop, request_of, scheduling
from taskvec import Task
from taskvec.pipeline import Prepared
from taskvec_integrations.server import scheduler as module
from taskvec_integrations.server.queue import OverloadedError

QUERY = Task.RETRIEVAL_QUERY


@pytest.fixture
def encoder() -> HeldEncoder:
    return HeldEncoder()


def order_of(encoder: HeldEncoder, *waiting: Prepared) -> list[tuple[Task | None, tuple[int, ...]]]:
    """The batches in which requests run that all wait when the encoder comes free."""

    async def run() -> None:
        async with scheduling(encoder) as scheduler:
            first = await enqueue(scheduler, request_of(1, task=None))
            await encoder.is_busy()
            results = [await enqueue(scheduler, one) for one in waiting]
            encoder.let()
            await asyncio.gather(first, *results)

    asyncio.run(run())
    return encoder.ran[1:]


def test_a_batch_has_one_task(encoder: HeldEncoder) -> None:
    waiting = [(2, PASSAGE), (2, QUERY), (3, PASSAGE), (4, QUERY), (5, None)]
    ran = order_of(encoder, *[request_of(tokens, task=task) for tokens, task in waiting])
    assert sorted(ran, key=str) == sorted([(QUERY, (2, 4)), (PASSAGE, (2, 3)), (None, (5,))], key=str)


def test_queries_pass_what_is_indexed(encoder: HeldEncoder) -> None:
    assert order_of(encoder, request_of(10, 10, 10), request_of(2, task=QUERY))[0] == (QUERY, (2,))


def test_short_requests_pass_long_ones(encoder: HeldEncoder) -> None:
    assert (PASSAGE, (1,)) in order_of(encoder, request_of(*[10] * 50), request_of(1))[:2]


def test_a_smaller_request_passes_a_larger_one_in_its_lane(encoder: HeldEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INITIAL_SECONDS_PER_TOKEN", 1.0)
    assert order_of(encoder, request_of(*[10] * 50), request_of(6))[0] == (PASSAGE, (6,))


def test_long_texts_of_a_request_run_together(encoder: HeldEncoder) -> None:
    assert [lengths for _, lengths in order_of(encoder, request_of(1, 9, 2, 8, 3, 7))] == [(9,), (8,), (7, 3), (2, 1)]


@in_event_loop
async def test_a_query_is_in_the_next_batch_however_long_others_wait(encoder: HeldEncoder) -> None:
    async with scheduling(encoder) as scheduler:
        bulk = [await enqueue(scheduler, request_of(10, first=i)) for i in range(30)]
        for number in range(1, 6):
            await encoder.is_busy()
            query = await enqueue(scheduler, request_of(2, task=QUERY))
            encoder.let(2)
            await query
            assert encoder.ran[-1] == (QUERY, (2,)), number
            await encoder.is_busy()
        encoder.let()
        await asyncio.gather(*bulk)


@in_event_loop
async def test_lanes_share_by_their_weights(encoder: HeldEncoder) -> None:
    """Of 26 batches while each lane always has more."""
    lanes: list[tuple[Task | None, int]] = [(QUERY, 10), (PASSAGE, 1), (PASSAGE, 10)]
    async with scheduling(encoder) as scheduler:
        first = await enqueue(scheduler, request_of(1, task=None))
        await encoder.is_busy()
        waiting = [await enqueue(scheduler, request_of(tokens, task=task)) for task, tokens in lanes for _ in range(260)]
        for _ in range(27):
            encoder.let(1)
            await encoder.is_busy()
        ran = encoder.ran[1:27]
        encoder.let()
        await asyncio.gather(first, *waiting)
    assert [sum((task, lengths[0]) == lane for task, lengths in ran) for lane in lanes] == [16, 8, 2]


@in_event_loop
async def test_a_lane_that_was_idle_has_saved_nothing_up(encoder: HeldEncoder) -> None:
    """After a hundred batches of queries alone, what is indexed gets its share and no more."""
    async with scheduling(encoder) as scheduler:
        encoder.let(100)
        for _ in range(100):
            await scheduler.submit(request_of(10, task=QUERY))
        waiting = [await enqueue(scheduler, request_of(10, task=task)) for task in (QUERY, PASSAGE) for _ in range(40)]
        encoder.let()
        await asyncio.gather(*waiting)
    assert [task for task, _ in encoder.ran[101:120]].count(PASSAGE) <= 3


@in_event_loop
async def test_nothing_starves(encoder: HeldEncoder) -> None:
    """Queries without end, always more of them: what is indexed has its share, one batch in nine."""
    async with scheduling(encoder) as scheduler:
        queries = [await enqueue(scheduler, request_of(10, task=QUERY))]
        bulk = await enqueue(scheduler, request_of(10))
        await encoder.is_busy()
        for _ in range(12):
            queries += [await enqueue(scheduler, request_of(10, task=QUERY)) for _ in range(2)]
            encoder.let(1)
            await encoder.is_busy()
        assert (PASSAGE, (10,)) in encoder.ran
        assert not all(query.done() for query in queries)
        encoder.let()
        await asyncio.gather(bulk, *queries)


@in_event_loop
async def test_a_request_waits_for_room(encoder: HeldEncoder) -> None:
    async with scheduling(encoder, max_waiting_tokens=60) as scheduler:  # 30 of which are the lane's
        running = await enqueue(scheduler, request_of(10))
        await encoder.is_busy()
        waiting = [await enqueue(scheduler, request_of(10, first=i)) for i in range(1, 4)]
        late = await enqueue(scheduler, request_of(7))
        assert scheduler.waiting_tokens == 30
        encoder.let(1)
        await encoder.is_busy()
        assert scheduler.waiting_tokens == 27
        encoder.let()
        np.testing.assert_allclose(await late, expected(request_of(7)), rtol=1e-6)
        await asyncio.gather(running, *waiting)
        assert scheduler.waiting_tokens == 0


@in_event_loop
async def test_a_request_is_refused_when_no_room_comes(encoder: HeldEncoder) -> None:
    async with scheduling(encoder, max_waiting_tokens=60, patience_seconds=0.01) as scheduler:
        running = await enqueue(scheduler, request_of(10))
        await encoder.is_busy()
        waiting = [await enqueue(scheduler, request_of(10, first=i)) for i in range(1, 4)]
        sentence = "30 tokens wait for the encoder, the limit is 30, and this request has 7 more: try again in about 1 s"
        with pytest.raises(OverloadedError, match=sentence) as refused:
            await scheduler.submit(request_of(7))
        assert refused.value.retry_after == 1
        assert scheduler.waiting_tokens == 30
        encoder.let()
        await asyncio.gather(running, *waiting)


@in_event_loop
async def test_how_long_to_wait_follows_from_what_waits(encoder: HeldEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INITIAL_SECONDS_PER_TOKEN", 0.5)
    async with scheduling(encoder, max_waiting_tokens=60, patience_seconds=0.01) as scheduler:
        running = await enqueue(scheduler, request_of(10))
        await encoder.is_busy()
        waiting = await enqueue(scheduler, request_of(20))
        with pytest.raises(OverloadedError, match="try again in about 10 s") as refused:
            await scheduler.submit(request_of(20))
        assert refused.value.retry_after == 10
        encoder.let()
        await asyncio.gather(running, waiting)


@in_event_loop
async def test_a_request_larger_than_the_queue_is_admitted_when_nothing_waits(encoder: HeldEncoder) -> None:
    async with scheduling(encoder, max_waiting_tokens=5) as scheduler:
        encoder.let()
        assert (await scheduler.submit(request_of(9, 9, 9))).shape == (3, WIDTH)


@in_event_loop
async def test_a_large_request_keeps_no_query_out(encoder: HeldEncoder) -> None:
    async with scheduling(encoder, max_waiting_tokens=40) as scheduler:
        bulk = await enqueue(scheduler, request_of(*[10] * 30))
        await encoder.is_busy()
        query = await enqueue(scheduler, request_of(8, task=QUERY))
        encoder.let(2)
        await query
        encoder.let()
        await bulk


@in_event_loop
async def test_a_request_that_waits_for_room_is_not_passed_in_its_lane(encoder: HeldEncoder) -> None:
    async with scheduling(encoder, max_waiting_tokens=40) as scheduler:  # 20 of which are the lane's
        running = await enqueue(scheduler, request_of(10))
        await encoder.is_busy()
        waiting = [await enqueue(scheduler, request_of(10, first=first)) for first in (20, 30)]
        first = await enqueue(scheduler, request_of(5, 5, 5, first=40))
        later = await enqueue(scheduler, request_of(4, first=60))
        encoder.let(1)
        await encoder.is_busy()
        assert scheduler.waiting_tokens == 10  # the later one would fit
        encoder.let()
        await asyncio.gather(running, *waiting, first, later)


@pytest.mark.parametrize(("max_waiting_tokens", "before"), [(200, 19), (20, 10)], ids=["in the queue", "waiting for room"])
@in_event_loop
async def test_a_cancelled_request_leaves(encoder: HeldEncoder, max_waiting_tokens: int, before: int) -> None:
    async with scheduling(encoder, max_waiting_tokens) as scheduler:
        running = await enqueue(scheduler, request_of(10))
        await encoder.is_busy()
        waiting = await enqueue(scheduler, request_of(10, first=20))
        cancelled = await enqueue(scheduler, request_of(9, first=40))
        assert scheduler.waiting_tokens == before
        cancelled.cancel()
        await asyncio.wait([cancelled])
        assert scheduler.waiting_tokens == 10
        encoder.let()
        await asyncio.gather(running, waiting)
        assert scheduler.waiting_tokens == 0
    assert (PASSAGE, (9,)) not in encoder.ran


@in_event_loop
async def test_room_that_is_released_goes_to_the_next(encoder: HeldEncoder) -> None:
    """Cancelled just after it was admitted: the request behind it must not wait for a batch that will never run."""
    async with scheduling(encoder, max_waiting_tokens=20) as scheduler:
        running = await enqueue(scheduler, request_of(10))
        await encoder.is_busy()
        full, first, second = [await enqueue(scheduler, request_of(10, first=i)) for i in (20, 40, 60)]
        full.cancel()  # admits `first`, which learns of it in the next turn of the event loop
        await asyncio.sleep(0)
        first.cancel()
        encoder.let()
        np.testing.assert_allclose(await second, expected(request_of(10, first=60)), rtol=1e-6)
        await running
