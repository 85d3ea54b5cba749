"""The scheduler of the server, over a stand-in for the encoder that can be held: batches, devices, failures, closing."""

import asyncio

import numpy as np
import pytest

from support.server.held_encoder import (
    PASSAGE,
    WIDTH,
    HeldEncoder,
    enqueue,
    expected,
    in_event_loop,
    request_of,
    scheduling,
    unit,
    vector_of,
)
from support.server.waiting import GUARD_SECONDS
from taskvec import Usage
from taskvec.packing import Pool, TokenSequence
from taskvec.pipeline import Prepared
from taskvec_integrations.server.queue import OverloadedError
from taskvec_integrations.server.scheduler import BatchStats


@pytest.fixture
def encoder() -> HeldEncoder:
    return HeldEncoder()


@in_event_loop
async def test_requests_of_one_task_share_batches_and_each_gets_its_own_rows(encoder: HeldEncoder) -> None:
    async with scheduling(encoder) as scheduler:
        first = await enqueue(scheduler, request_of(1))
        await encoder.is_busy()
        lengths_and_first = [((3, 2), 10), ((4,), 50), ((1, 1, 1), 70), ((25,), 100)]
        requests = [request_of(*lengths, first=first_id) for lengths, first_id in lengths_and_first]
        results = [await enqueue(scheduler, one) for one in requests]
        encoder.let()
        for one, result in zip(requests, results, strict=True):
            np.testing.assert_allclose(await result, expected(one), rtol=1e-6)
        await first
    assert sorted(length for _, lengths in encoder.ran for length in lengths) == [1, 1, 1, 1, 2, 3, 4, 25]
    assert max(len(lengths) for _, lengths in encoder.ran) > 2
    assert all(sum(lengths) <= 10 or len(lengths) == 1 for _, lengths in encoder.ran)


@in_event_loop
async def test_pools_of_a_document_are_added_up_by_their_weights(encoder: HeldEncoder) -> None:
    """A chunk that two windows share, and one document in several sequences."""
    windows = [
        TokenSequence(np.arange(1, 9), (Pool(0, np.arange(4)), Pool(1, np.arange(4, 8), 0.25))),
        TokenSequence(np.arange(20, 28), (Pool(1, np.arange(8), 0.75),)),
    ]
    prepared = Prepared(windows, 2, Usage(1, 16), request_of(1).settings)
    async with scheduling(encoder) as scheduler:
        encoder.let()
        vectors = await scheduler.submit(prepared)
    second = vector_of(np.arange(5, 9)) * 0.25 + vector_of(np.arange(20, 28)) * 0.75
    np.testing.assert_allclose(vectors, unit([vector_of(np.arange(1, 5)), second]), rtol=1e-6)


@in_event_loop
async def test_a_request_without_texts_needs_no_encoder(encoder: HeldEncoder) -> None:
    async with scheduling(encoder) as scheduler:
        assert (await scheduler.submit(request_of())).shape == (0, WIDTH)


@in_event_loop
async def test_a_text_that_cannot_be_run_takes_no_other_with_it(encoder: HeldEncoder) -> None:
    encoder.bad = 666
    async with scheduling(encoder) as scheduler:
        running = await enqueue(scheduler, request_of(1))
        await encoder.is_busy()
        good, bad, other = [await enqueue(scheduler, request_of(2, first=first)) for first in (5, 666, 9)]
        encoder.let()
        np.testing.assert_allclose(await good, expected(request_of(2, first=5)), rtol=1e-6)
        np.testing.assert_allclose(await other, expected(request_of(2, first=9)), rtol=1e-6)
        with pytest.raises(MemoryError, match="too long"):
            await bad
        await running
        assert scheduler.waiting_tokens == 0


@in_event_loop
async def test_a_failure_of_the_server_ends_no_thread(encoder: HeldEncoder) -> None:
    def fail(batch: BatchStats) -> None:
        if batch.tokens == 3:
            raise OSError("no more room for metrics")

    async with scheduling(encoder, on_batch=fail) as scheduler:
        encoder.let()
        await scheduler.submit(request_of(3))
        assert (await scheduler.submit(request_of(4))).shape == (1, WIDTH)
        assert scheduler.alive


@in_event_loop
async def test_batches_are_counted(encoder: HeldEncoder) -> None:
    ran: list[BatchStats] = []
    async with scheduling(encoder, on_batch=ran.append) as scheduler:
        encoder.let()
        await scheduler.submit(request_of(10, 5))
    assert [(one.task, one.tokens, one.fill, len(one.waits)) for one in ran] == [(PASSAGE, 10, 1.0, 1), (PASSAGE, 5, 0.5, 0)]


@in_event_loop
async def test_one_request_is_shared_by_the_devices() -> None:
    encoder = HeldEncoder(devices=2)
    async with scheduling(encoder) as scheduler:
        result = await enqueue(scheduler, request_of(10, 10, 10, 10))
        await encoder.is_busy()
        await encoder.is_busy()  # both devices are at work before either is let go
        encoder.let()
        np.testing.assert_allclose(await result, expected(request_of(10, 10, 10, 10)), rtol=1e-6)


@in_event_loop
async def test_each_device_has_a_thread() -> None:
    encoder = HeldEncoder(devices=2)
    async with scheduling(encoder) as scheduler:
        results = [await enqueue(scheduler, request_of(10, first=i)) for i in (1, 20)]
        await encoder.is_busy()
        await encoder.is_busy()
        encoder.let()
        await asyncio.gather(*results)


@in_event_loop
async def test_closing_runs_what_waits_and_refuses_what_comes(encoder: HeldEncoder) -> None:
    async with scheduling(encoder) as scheduler:
        results = [await enqueue(scheduler, request_of(10, first=i)) for i in (1, 20, 40)]
        scheduler.close(timeout=0)
        with pytest.raises(OverloadedError, match="shutting down") as refused:
            await scheduler.submit(request_of(1))
        assert refused.value.status == 503
        encoder.let()
        assert [len(vectors) for vectors in await asyncio.gather(*results)] == [1, 1, 1]


@in_event_loop
async def test_closing_refuses_what_waits_for_room(encoder: HeldEncoder) -> None:
    async with scheduling(encoder, max_waiting_tokens=20) as scheduler:
        results = [await enqueue(scheduler, request_of(10, first=i)) for i in (1, 20)]
        await encoder.is_busy()
        late = await enqueue(scheduler, request_of(10, first=40))
        scheduler.close(timeout=0)
        with pytest.raises(OverloadedError, match="shutting down"):
            await late
        encoder.let()
        await asyncio.gather(*results)


@in_event_loop
async def test_closing_ends_the_threads_of_all_devices() -> None:
    encoder = HeldEncoder(devices=3)
    async with scheduling(encoder) as scheduler:
        result = await enqueue(scheduler, request_of(10))
        await encoder.is_busy()
        scheduler.close(timeout=0)
        encoder.let()
        await result
        await asyncio.to_thread(scheduler.close, GUARD_SECONDS)
        assert not any(thread.is_alive() for thread in scheduler._threads)
