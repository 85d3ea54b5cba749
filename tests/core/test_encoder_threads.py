"""Threads and event loops: no cross-talk, a loop that is never blocked, work that ends when it is canceled."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.reference import TEXTS, assert_close, words
from taskvec import Encoder, Task

HANG_SECONDS = 60


def test_threads_with_mixed_settings_do_not_cross_talk(native: Path) -> None:
    encoder = Encoder.from_pretrained(native, dtype="float32", max_bodies=2)
    jobs = [(task, d, TEXTS[i % 5 :]) for i, task in enumerate([*Task, None] * 8) for d in (64, 3 + i % 20)]
    expected = [encoder.encode(texts, task=task, dimensions=d) for task, d, texts in jobs]
    barrier = threading.Barrier(8)

    def work(start: int) -> None:
        barrier.wait()
        for i in [*range(start, len(jobs)), *range(start)]:
            task, dimensions, texts = jobs[i]
            assert_close(encoder.encode(texts, task=task, dimensions=dimensions), expected[i])

    with ThreadPoolExecutor(8) as executor:
        for future in [executor.submit(work, 12 * i) for i in range(8)]:
            future.result()


def test_async_methods_equal_the_others(encoder: Encoder) -> None:
    async def main() -> None:
        chunks, spans = [["a b", "c"], ["d"]], [[(0, 3), (3, 5)], [(0, 1)]]
        assert_close(await encoder.aencode(TEXTS, dimensions=9), encoder.encode(TEXTS, dimensions=9))
        assert_close(await encoder.aencode(["a", "b"], late_chunking=True), encoder.encode(["a", "b"], late_chunking=True))
        assert_close(await encoder.aencode_queries("a"), encoder.encode_queries("a"))
        documents = encoder.encode_documents(["a", "b"], late_chunking=True)
        assert_close(await encoder.aencode_documents(["a", "b"], late_chunking=True), documents)
        for ours, theirs in zip(await encoder.aencode_chunks(chunks), encoder.encode_chunks(chunks), strict=True):
            assert_close(ours, theirs)
        texts = ["a b c", "d"]
        for ours, theirs in zip(await encoder.aencode_spans(texts, spans), encoder.encode_spans(texts, spans), strict=True):
            assert_close(ours, theirs)
        with pytest.raises(ValueError, match="dimensions is 99"):
            await encoder.aencode("a", dimensions=99)

    asyncio.run(main())


def test_the_event_loop_is_never_blocked(encoder: Encoder) -> None:
    """The work waits for the loop: if it ran in the loop's thread, it would wait forever."""
    started, released = threading.Event(), threading.Event()

    def wait(done: int, total: int | None) -> None:
        started.set()
        assert released.wait(HANG_SECONDS)

    async def main() -> None:
        work = asyncio.create_task(encoder.aencode(["a", "b"], progress=wait))
        while not started.is_set():
            await asyncio.sleep(0.001)
        released.set()
        assert (await work).shape == (2, 64)

    asyncio.run(main())


def test_canceling_ends_the_work_at_the_next_batch(short: Encoder) -> None:
    started, released = threading.Event(), threading.Event()
    reports: list[int] = []

    def wait(done: int, total: int | None) -> None:
        reports.append(done)
        started.set()
        assert released.wait(HANG_SECONDS)

    async def main() -> None:
        work = asyncio.create_task(short.aencode([words(30, i) for i in range(2000)], progress=wait))
        while not started.is_set():
            await asyncio.sleep(0.001)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        released.set()

    asyncio.run(main())  # which waits for the threads of the loop
    assert len(reports) == 1
    assert reports[0] < 2000
