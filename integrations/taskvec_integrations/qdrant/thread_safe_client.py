"""Calling a Qdrant client from any thread: a remote one directly, an async or in-process one where its user runs it."""

import asyncio
import inspect
from typing import Any

from qdrant_client import AsyncQdrantClient, QdrantClient

from taskvec_integrations.ingestion.async_source import caller_loop


class ThreadSafeClient:
    """Calls methods of a client by name and returns their results, whatever kind of client it is.

    Attributes:
        in_process: whether the client is an embedded Qdrant, which two threads must not use at the same time.
    """

    def __init__(self, client: QdrantClient | AsyncQdrantClient) -> None:
        if not isinstance(client, QdrantClient | AsyncQdrantClient):
            raise TypeError(f"client is {client!r}: a QdrantClient or AsyncQdrantClient was expected")
        options = client.init_options
        self.in_process = options.get("location") == ":memory:" or options.get("path") is not None
        self._client = client
        self._is_async = isinstance(client, AsyncQdrantClient)

    def accepts(self, method: str, argument: str) -> bool:
        """Whether a method of this version of the client has an argument."""
        return argument in inspect.signature(getattr(self._client, method)).parameters

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """The result of a method; in the caller's event loop where the client may only be used there.

        Raises:
            RuntimeError: the client is async, and no event loop waits for this call.
        """
        function, loop = getattr(self._client, method), caller_loop.get()
        if loop is not None and (self._is_async or self.in_process):

            async def run() -> Any:
                result = function(*args, **kwargs)
                return await result if inspect.isawaitable(result) else result

            return asyncio.run_coroutine_threadsafe(run(), loop).result()
        if self._is_async:
            raise RuntimeError("this store has an AsyncQdrantClient: use aingest and asearch, or give it a QdrantClient")
        return function(*args, **kwargs)
