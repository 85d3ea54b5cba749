"""Looking through the arguments of a client's method before it is called: its signature, name and docstring stay.

Knows signatures and threads; the DocumentEmbedder knows what becomes of Documents.
"""

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence, Sized
from functools import wraps
from itertools import chain
from typing import Any, ParamSpec, Protocol, Self, TypeVar, cast

import numpy as np
from qdrant_client.local.async_qdrant_local import AsyncQdrantLocal
from qdrant_client.local.qdrant_local import QdrantLocal

from taskvec.integration import run_in_thread
from taskvec_integrations.qdrant.document_options import Operation
from taskvec_integrations.qdrant.embed import DocumentEmbedder
from taskvec_integrations.qdrant.upload_thread import upload_in_thread

P = ParamSpec("P")
R = TypeVar("R")

READY_VECTORS = (dict, np.ndarray)
"""What `upload_collection` takes for vectors that are ready: whole columns, in which no Document stands."""

COLUMNS = ("ids", "payload")
"""What `upload_collection` takes beside the vectors, one for each."""

log = logging.getLogger("taskvec")


class _CountingIterator:
    """An iterator that knows how many items were taken from it."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = iter(items)
        self.count = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        item = next(self._items)
        self.count += 1
        return item


class EmbeddingClient(Protocol):
    """What a client needs so that its methods can embed Documents."""

    _client: object
    _embedder: DocumentEmbedder


def embed_arguments(method: Callable[P, R], operation: Operation, *names: str) -> Callable[P, R]:
    """`method` with the Documents in its arguments `names` embedded, together, before it is called."""
    signature = inspect.signature(method)

    @wraps(method)
    def embed_then_call(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = signature.bind(*args, **kwargs)
        values = {name: bound.arguments[name] for name in names if name in bound.arguments}
        bound.arguments.update(_client(bound)._embedder.embed(values, operation))
        return method(*bound.args, **bound.kwargs)

    return embed_then_call


def embed_arguments_async(
    method: Callable[P, Coroutine[Any, Any, R]], operation: Operation, *names: str
) -> Callable[P, Coroutine[Any, Any, R]]:
    """`embed_arguments` for a coroutine function: a thread encodes, and cancelling ends it at the next batch."""
    signature = inspect.signature(method)

    @wraps(method)
    async def embed_then_await(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = signature.bind(*args, **kwargs)
        embedder = _client(bound)._embedder
        values = {name: bound.arguments[name] for name in names if name in bound.arguments}
        if requests := embedder.find_requests(values, operation):
            bound.arguments.update(await run_in_thread(embedder.fill, values, requests))
        return await method(*bound.args, **bound.kwargs)

    return embed_then_await


def embed_upload(method: Callable[P, None], name: str) -> Callable[P, None]:
    """An upload method with the Documents in its argument `name`, any iterable, embedded while it is uploaded."""
    signature = inspect.signature(method)

    @wraps(method)
    def embed_while_uploading(*args: P.args, **kwargs: P.kwargs) -> None:
        _warn_in_event_loop(method.__name__)
        _upload(method, signature.bind(*args, **kwargs), name)

    return embed_while_uploading


def embed_upload_async(method: Callable[P, None], name: str) -> Callable[P, Coroutine[Any, Any, None]]:
    """A coroutine function that does what `embed_upload` does in a thread, for a blocking method of an async client.

    Two threads must not use an embedded Qdrant at the same time, so there only the encoding is in a thread.
    """
    signature = inspect.signature(method)

    @wraps(method)
    async def embed_while_uploading(*args: P.args, **kwargs: P.kwargs) -> None:
        bound = signature.bind(*args, **kwargs)
        client = _client(bound)
        if not isinstance(client._client, AsyncQdrantLocal):
            await run_in_thread(_upload, method, bound, name)
            return
        items = _check_columns(bound, name)
        if isinstance(items, READY_VECTORS):
            method(*bound.args, **bound.kwargs)
        else:
            embedder = client._embedder
            _send(method, bound, name, await run_in_thread(lambda: [*chain.from_iterable(embedder.embed_stream(items))]))

    return embed_while_uploading


def _upload(method: Callable[..., None], bound: inspect.BoundArguments, name: str) -> None:
    """Encode in this thread while another one sends; an embedded Qdrant has nothing to send and stays in this one."""
    client = _client(bound)
    items = _check_columns(bound, name)

    def send(blocks: Iterable[list[Any]]) -> None:
        _send(method, bound, name, chain.from_iterable(blocks))

    if isinstance(items, READY_VECTORS):
        method(*bound.args, **bound.kwargs)
    elif isinstance(client._client, QdrantLocal | AsyncQdrantLocal):
        send(client._embedder.embed_stream(items))
    else:
        upload_in_thread(send, client._embedder.embed_stream(items))


def _send(method: Callable[..., None], bound: inspect.BoundArguments, name: str, items: Iterable[Any]) -> None:
    """Call an upload method; where it leaves items because ids or payloads have ended, a ValueError with both counts."""
    sent = _CountingIterator(items)
    columns = {other: bound.arguments[other] for other in COLUMNS if bound.arguments.get(other) is not None}
    counted = {other: column if isinstance(column, Sized) else _CountingIterator(column) for other, column in columns.items()}
    bound.arguments.update(counted, **{name: sent})
    method(*bound.args, **bound.kwargs)
    next(sent, None)  # shows whether any item is left
    for other, column in counted.items():
        count = column.count if isinstance(column, _CountingIterator) else len(column)
        if count < sent.count:
            raise ValueError(
                f"{other} has {count} items for {sent.count} vectors or more, so only the first {count} were uploaded: "
                "pass one for each vector"
            )


def _check_columns(bound: inspect.BoundArguments, name: str) -> Any:
    """The points or vectors to upload; too few ids or payloads for a list of vectors are a ValueError."""
    items = bound.arguments[name]
    for other in COLUMNS:
        column = bound.arguments.get(other)
        if isinstance(items, Sequence) and isinstance(column, Sized) and len(column) < len(items):
            raise ValueError(f"{other} has {len(column)} items for {len(items)} vectors: pass one for each vector")
    return items


def _client(bound: inspect.BoundArguments) -> EmbeddingClient:
    return cast(EmbeddingClient, bound.arguments["self"])


def _warn_in_event_loop(name: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    log.warning("%s blocks the event loop until everything is encoded and sent: await a%s instead", name, name)
