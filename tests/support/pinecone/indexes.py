"""Texts, records and the one face of sync and async indexes that the tests of the Pinecone integration share.

Written for SDK 7 to 10, which make indexes in four ways.
"""

import asyncio
import inspect
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import numpy as np
import pinecone as sdk

from support.pinecone.emulator import KEY, PineconeServer
from taskvec_integrations.pinecone import AsyncTaskvecIndex, TaskvecIndex

VERSION = int(sdk.__version__.partition(".")[0])
WIDTH = 384  # of mini
TEXTS = [
    "Marie Curie was born in Warsaw in 1867.",
    "She shared the Nobel Prize in Physics with her husband.",
    "Yeast turns sugar into gas, which makes bread rise.",
    "The Spree flows through Berlin.",
]
IDS = ["curie", "nobel", "yeast", "spree"]
QUESTION = "Which prize did Marie Curie win?"
VECTORS: Mapping[str, Any] = {
    "fields": {
        "embedding": {"type": "dense_vector", "dimension": WIDTH, "metric": "cosine"},
        "text": {"type": "string", "filterable": False},
    }
}

Client: Any = sdk.Pinecone
AsyncClient: Any = getattr(sdk, "AsyncPinecone", None) or sdk.PineconeAsyncio


def records(texts: list[str] = TEXTS, **fields: Any) -> list[dict[str, Any]]:
    """One record for each text."""
    return [{"_id": id, "text": text, "place": place, **fields} for place, (id, text) in enumerate(zip(IDS, texts, strict=False))]


def values(server: PineconeServer, namespace: str = "", ids: list[str] = IDS) -> Any:
    """The stored vectors of records, in order."""
    stored = server.stored(namespace)
    return np.array([stored[id].values for id in ids])


def sync_index(url: str, **options: Any) -> Any:
    """The SDK's own index at a host."""
    client = Client(api_key=KEY, **options)
    return client.index(host=url) if VERSION >= 9 else client.Index(host=url)


async def async_index(url: str, stack: AsyncExitStack) -> Any:
    """The SDK's own async index at a host, closed with the stack."""
    client = await stack.enter_async_context(AsyncClient(api_key=KEY))
    if VERSION < 9:
        return await stack.enter_async_context(client.IndexAsyncio(host=url))
    index = client.index(host=url)
    return await index if inspect.isawaitable(index) else index


class Face:
    """Calls methods of an index, or of its documents, to their end where they are coroutines."""

    def __init__(self, wrapped: Any, run: Callable[[Any], Any]) -> None:
        self.wrapped = wrapped
        self.run = run

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.wrapped, name)
        return Face(method, self.run) if name == "documents" else lambda *args, **named: self.run(method(*args, **named))


async def longest_pause(work: Coroutine[Any, Any, Any]) -> tuple[float, float]:
    """For how long the event loop stood still at most while `work` was done, and how long that took."""
    start = last = time.perf_counter()
    task, longest = asyncio.ensure_future(work), 0.0
    while not task.done():
        await asyncio.sleep(0.001)
        longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
    await task
    return longest, time.perf_counter() - start


@contextmanager
def faces(kind: str, url: str, **options: Any) -> Iterator[Face]:
    """A TaskvecIndex ("sync") or an AsyncTaskvecIndex ("async") of the index at `url`."""
    with asyncio.Runner() as runner:

        def run(result: Any) -> Any:
            async def awaited() -> Any:
                return await result

            return runner.run(awaited()) if inspect.isawaitable(result) else result

        if kind == "sync":
            with TaskvecIndex(sync_index(url), **options) as index:
                yield Face(index, run)
            return
        stack = AsyncExitStack()
        index = AsyncTaskvecIndex(run(async_index(url, stack)), **options)
        try:
            yield Face(index, run)
        finally:
            run(index.close())
            run(stack.aclose())
