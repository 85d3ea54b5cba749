"""Looking through the arguments of a client's method before it is called: its signature, name and docstring stay.

Knows signatures and threads; what Documents become is the Resolver's affair.
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
from taskvec_integrations.qdrant.embed import Resolver
from taskvec_integrations.qdrant.overlap import consume_meanwhile

P = ParamSpec("P")
R = TypeVar("R")

ARRAYS = (dict, np.ndarray)  # whole columns of ready vectors

COLUMNS = ("ids", "payload")
"""What `upload_collection` takes beside the vectors, one for each."""

log = logging.getLogger("taskvec")


class _Counted:
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


class Client(Protocol):
    """What a client needs so that its methods can be wired here."""

    _client: object
    _resolver: Resolver


def resolving(method: Callable[P, R], operation: Operation, *names: str) -> Callable[P, R]:
    """`method` with the Documents in its arguments `names` resolved, together, before it is called."""
    signature = inspect.signature(method)

    @wraps(method)
    def resolved(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = signature.bind(*args, **kwargs)
        given = {name: bound.arguments[name] for name in names if name in bound.arguments}
        bound.arguments.update(_client(bound)._resolver.resolve(given, operation))
        return method(*bound.args, **bound.kwargs)

    return resolved


def resolving_async(
    method: Callable[P, Coroutine[Any, Any, R]], operation: Operation, *names: str
) -> Callable[P, Coroutine[Any, Any, R]]:
    """`resolving` for a coroutine function: a thread encodes, and cancelling ends it at the next batch."""
    signature = inspect.signature(method)

    @wraps(method)
    async def resolved(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = signature.bind(*args, **kwargs)
        resolver = _client(bound)._resolver
        given = {name: bound.arguments[name] for name in names if name in bound.arguments}
        if requests := resolver.find(given, operation):
            bound.arguments.update(await run_in_thread(resolver.fill, given, requests))
        return await method(*bound.args, **bound.kwargs)

    return resolved


def streaming(method: Callable[P, None], name: str) -> Callable[P, None]:
    """An upload method with the Documents in its argument `name`, any iterable, resolved while it is uploaded."""
    signature = inspect.signature(method)

    @wraps(method)
    def resolved(*args: P.args, **kwargs: P.kwargs) -> None:
        _warn_in_event_loop(method.__name__)
        _upload(method, signature.bind(*args, **kwargs), name)

    return resolved


def streaming_async(method: Callable[P, None], name: str) -> Callable[P, Coroutine[Any, Any, None]]:
    """A coroutine function out of a blocking upload method of an async client: `streaming` in a thread.

    An embedded Qdrant is not safe to use from two threads, so there only the encoding is in one.
    """
    signature = inspect.signature(method)

    @wraps(method)
    async def resolved(*args: P.args, **kwargs: P.kwargs) -> None:
        bound = signature.bind(*args, **kwargs)
        client = _client(bound)
        if isinstance(client._client, AsyncQdrantLocal):
            given = _checked(bound, name)
            if isinstance(given, ARRAYS):
                method(*bound.args, **bound.kwargs)
            else:
                _send(method, bound, name, await run_in_thread(lambda: [*chain.from_iterable(client._resolver.blocks(given))]))
        else:
            await run_in_thread(_upload, method, bound, name)

    return resolved


def _upload(method: Callable[..., None], bound: inspect.BoundArguments, name: str) -> None:
    """Encode in this thread while another one sends; an embedded Qdrant has nothing to send and stays in this one."""
    client = _client(bound)
    given = _checked(bound, name)

    def send(blocks: Iterable[list[Any]]) -> None:
        _send(method, bound, name, chain.from_iterable(blocks))

    if isinstance(given, ARRAYS):
        method(*bound.args, **bound.kwargs)
    elif isinstance(client._client, QdrantLocal | AsyncQdrantLocal):
        send(client._resolver.blocks(given))
    else:
        consume_meanwhile(send, client._resolver.blocks(given))


def _send(method: Callable[..., None], bound: inspect.BoundArguments, name: str, items: Iterable[Any]) -> None:
    """Call an upload method; where it leaves items because ids or payloads have ended, a ValueError with both counts."""
    sent = _Counted(items)
    columns = {other: bound.arguments[other] for other in COLUMNS if bound.arguments.get(other) is not None}
    counted = {other: column if isinstance(column, Sized) else _Counted(column) for other, column in columns.items()}
    bound.arguments.update(counted, **{name: sent})
    method(*bound.args, **bound.kwargs)
    next(sent, None)  # what was left, if anything
    for other, column in counted.items():
        count = column.count if isinstance(column, _Counted) else len(column)
        if count < sent.count:
            raise ValueError(
                f"{other} has {count} items for {sent.count} vectors or more: the first {count} were uploaded, give one for each"
            )


def _checked(bound: inspect.BoundArguments, name: str) -> Any:
    """The points or vectors to upload; too few ids or payloads for a list of vectors are a ValueError."""
    given = bound.arguments[name]
    for other in COLUMNS:
        column = bound.arguments.get(other)
        if isinstance(given, Sequence) and isinstance(column, Sized) and len(column) < len(given):
            raise ValueError(f"{other} has {len(column)} items for {len(given)} vectors: give one for each")
    return given


def _client(bound: inspect.BoundArguments) -> Client:
    return cast(Client, bound.arguments["self"])


def _warn_in_event_loop(name: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    log.warning("%s blocks the event loop until everything is encoded and sent: await a%s instead", name, name)
