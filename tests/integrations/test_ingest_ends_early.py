"""Runs that end early, by Ctrl-C, a cancelled coroutine or the caller's own error: what is written stays, no thread is left."""

import asyncio
import contextlib
import logging
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest

from support.fake_backend import BusyError
from support.ingest_runs import store_of, texts, threads_of_runs
from taskvec import Encoder
from taskvec_integrations.ingestion.upload import Uploader

HANGS_SECONDS = 60  # a guard only: what is waited for comes, or the code is wrong


@contextlib.contextmanager
def interrupts() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also where a shell started the tests with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Interrupter(logging.Handler):
    """Sends the main thread a SIGINT, where asked or when a call is about to be made again."""

    def __init__(self) -> None:
        super().__init__()
        self.sent_at = 0.0

    def send(self) -> None:
        main = threading.main_thread().ident
        assert main
        self.sent_at = time.monotonic()
        signal.pthread_kill(main, signal.SIGINT)

    def emit(self, record: logging.LogRecord) -> None:
        if "trying again in" in record.getMessage():
            self.send()


@pytest.fixture
def interrupter() -> Iterator[Interrupter]:
    handler = Interrupter()
    logging.getLogger("taskvec").addHandler(handler)
    yield handler
    logging.getLogger("taskvec").removeHandler(handler)


@pytest.fixture
def is_aborting(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Is set when an uploader is told to drop what waits."""
    event, abort = threading.Event(), Uploader.abort

    def watched(self: Uploader) -> None:
        event.set()
        abort(self)

    monkeypatch.setattr(Uploader, "abort", watched)
    return event


@pytest.mark.parametrize("where", ["reading", "writing", "waiting to try again"])
def test_ctrl_c_keeps_what_is_written_and_leaves_no_thread(
    small: Encoder, where: str, interrupter: Interrupter, is_aborting: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    writes = 0

    def trouble(method: str, batch: Sequence[Any]) -> None:
        nonlocal writes
        writes += method == "write"
        if method == "write" and writes == 3 and where == "waiting to try again":
            raise BusyError(2 * HANGS_SECONDS)
        if method == "write" and writes == 3 and where == "writing":
            interrupter.send()
            assert is_aborting.wait(HANGS_SECONDS)

    def documents() -> Iterator[tuple[str | int, str]]:
        for number, document in enumerate(texts(3000)):
            if number == 2000 and where == "reading":
                interrupter.send()
            yield document

    store = store_of(small, trouble, max_batch_points=16)
    with interrupts(), pytest.raises(KeyboardInterrupt) as caught:
        store.ingest(documents())
    assert time.monotonic() - interrupter.sent_at < HANGS_SECONDS
    assert "ended early: KeyboardInterrupt" in caplog.text
    assert caught.value.__notes__[0].startswith("Ingested into docs before this")
    written = len(store.vectors)
    assert 0 < written < 3000
    assert f"{written:,} written" in caught.value.__notes__[0]
    assert store.backend.finished == 1
    del caught
    assert threads_of_runs() == []
    assert store.ingest(texts(3000)).chunks.written == 3000 - written
    assert len(store.vectors) == 3000


def test_cancelling_a_coroutine_ends_the_run(small: Encoder) -> None:
    store, has_started = store_of(small, max_batch_points=16), threading.Event()

    async def endless() -> AsyncIterator[tuple[int, str]]:
        number = 0
        while True:
            yield number, f"text {number}"
            number += 1
            if store.backend.server and len(store.backend.server["docs"].points) > 100:
                has_started.set()

    async def run() -> None:
        task = asyncio.create_task(store.aingest(endless()))
        while not has_started.is_set():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())  # which returns when the loop's own threads have ended
    assert threads_of_runs() == []
    assert len(store.vectors) >= 100


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_cancelling_ends_the_reading_of_what_is_stored_already(small: Encoder, is_async: bool) -> None:
    """Nothing is encoded then, whose batches would notice."""
    store = store_of(small)
    store.ingest(texts(100))
    read = read_at_cancel = closed = 0

    def endless() -> Iterator[tuple[int, str]]:
        nonlocal read
        while True:
            read += 1
            yield read % 100, f"text {read % 100}"

    async def slowly() -> AsyncIterator[tuple[int, str]]:
        nonlocal closed
        try:
            for document in endless():
                if read % 50 == 0:
                    await asyncio.sleep(0)
                yield document
        finally:
            closed += 1

    async def run() -> None:
        nonlocal read_at_cancel
        source = slowly() if is_async else endless()  # kept here, so that only aingest can close it
        task = asyncio.create_task(store.aingest(source))
        while read < 1000:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        read_at_cancel = read
        assert closed == is_async

    asyncio.run(run())  # which returns when the loop's own threads have ended
    assert threads_of_runs() == []
    assert read - read_at_cancel <= (0 if is_async else 1)  # the thread may have been between two


def test_cancelling_while_the_source_waits(small: Encoder) -> None:
    store = store_of(small)

    async def run() -> None:
        is_waiting = asyncio.Event()

        async def silent() -> AsyncIterator[str]:
            yield "first"
            is_waiting.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(store.aingest(silent()))
        await is_waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, HANGS_SECONDS)

    asyncio.run(run())
    assert threads_of_runs() == []


def test_an_error_of_the_progress_function_is_the_callers(small: Encoder) -> None:
    def fail(done: int, total: int | None) -> None:
        raise RuntimeError("my own mistake")

    with pytest.raises(RuntimeError, match="my own mistake"):
        store_of(small).ingest(texts(3), progress=fail)
    assert threads_of_runs() == []
