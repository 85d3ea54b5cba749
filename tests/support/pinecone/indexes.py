"""Texts, records and the one face of sync and async indexes that the tests of the Pinecone integration share."""

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from typing import Any, TypeVar

import numpy as np
import pinecone as sdk
import pytest

from support.pinecone.emulator import KEY, PineconeServer
from taskvec import Encoder
from taskvec_integrations.pinecone import AsyncTaskvecIndex, TaskvecIndex

R = TypeVar("R")

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
SCHEMA: Mapping[str, Any] = {
    "fields": {
        "embedding": {"type": "dense_vector", "dimension": WIDTH, "metric": "cosine"},
        "text": {"type": "string", "filterable": False},
    }
}
"""Of a document index."""


def records(texts: list[str] = TEXTS, **fields: Any) -> list[dict[str, Any]]:
    """One record for each text."""
    return [{"_id": id, "text": text, "place": place, **fields} for place, (id, text) in enumerate(zip(IDS, texts, strict=False))]


def values(server: PineconeServer, namespace: str = "", ids: list[str] = IDS) -> Any:
    """The stored vectors of records, in order."""
    stored = server.stored(namespace)
    return np.array([stored[id].values for id in ids])


def sync_index(url: str, **options: Any) -> Any:
    """The SDK's own index at a host."""
    return sdk.Pinecone(api_key=KEY, **options).index(host=url)


async def async_index(url: str, stack: AsyncExitStack) -> Any:
    """The SDK's own async index at a host, closed with the stack."""
    client = await stack.enter_async_context(sdk.AsyncPinecone(api_key=KEY))
    return await client.index(host=url)


class Face:
    """Calls methods of an index, or of its documents, to their end where they are coroutines."""

    def __init__(self, wrapped: Any, run: Callable[[Any], Any]) -> None:
        self.wrapped = wrapped
        self.run = run

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.wrapped, name)
        return Face(method, self.run) if name == "documents" else lambda *args, **named: self.run(method(*args, **named))


async def while_loop_is_free(encoder: Encoder, work: Coroutine[Any, Any, R]) -> R:
    """The result of `work`, in which the encoder goes on only when the event loop runs meanwhile."""
    started, released = threading.Event(), threading.Event()
    encode = encoder.encode

    def encode_when_released(*args: Any, **options: Any) -> Any:
        started.set()
        assert released.wait(timeout=60), "the event loop did not run while the encoder worked"
        return encode(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder, "encode", encode_when_released)
        task = asyncio.ensure_future(work)
        while not started.is_set() and not task.done():
            await asyncio.sleep(0.001)
        released.set()
        return await task


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
        async_face = Face(AsyncTaskvecIndex(run(async_index(url, stack)), **options), run)
        try:
            yield async_face
        finally:
            async_face.close()
            run(stack.aclose())
