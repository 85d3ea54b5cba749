"""What a store needs of the event loop that a coroutine calls it from: the loop itself, and documents that come asynchronously.

Knows asyncio and threads, neither databases nor encoders.
"""

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from taskvec_integrations.ingestion.documents import Input

caller_loop: ContextVar[AbstractEventLoop | None] = ContextVar("taskvec_caller_loop", default=None)
"""The event loop whose coroutine waits for this call (aingest, asearch), for a client that may only be used there."""


@contextmanager
def called_from_loop() -> Iterator[AbstractEventLoop]:
    """Set `caller_loop` to the running loop for all that is called within, also in threads."""
    loop = asyncio.get_running_loop()
    reset = caller_loop.set(loop)
    try:
        yield loop
    finally:
        caller_loop.reset(reset)


class AsyncSource:
    """An async iterable of documents as a plain one, for a thread other than the event loop's.

    Args:
        documents: Is read in `loop`, one document at a time, and closed by `close`.
        loop: The event loop that waits for the thread.
    """

    def __init__(self, documents: AsyncIterable[Input], loop: AbstractEventLoop) -> None:
        self._documents = aiter(documents)
        self._loop = loop
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = False

    def __iter__(self) -> Iterator[Input]:
        end = object()
        while not self._cancelled:
            try:
                document = asyncio.run_coroutine_threadsafe(self._next(end), self._loop).result()
            except CancelledError:  # an Exception, unlike asyncio's
                break
            if document is end:
                return
            yield document
        raise asyncio.CancelledError

    async def _next(self, end: object) -> Any:
        if self._cancelled:
            raise asyncio.CancelledError
        self._task = asyncio.current_task()
        return await anext(self._documents, end)

    async def close(self) -> None:
        """Wake the thread that waits for a document, read no more of them, and close what they come from."""
        self._cancelled = True
        if self._task and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])
        if aclose := getattr(self._documents, "aclose", None):
            await aclose()
