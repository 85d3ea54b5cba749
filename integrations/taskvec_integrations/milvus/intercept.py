"""Looking through the arguments of a client's method before it is called: its signature, name and docstring stay.

Knows signatures, threads and when a collection is described; the RowEmbedder knows what becomes of a text.
"""

import inspect
from collections.abc import Callable, Coroutine, Mapping
from functools import wraps
from typing import Any

from pymilvus import MilvusException

from taskvec.integration import run_in_thread
from taskvec_integrations.milvus.embed import VectorFields, has_text
from taskvec_integrations.milvus.server import Server

EmbedArgument = Callable[..., Any]
"""A method of RowEmbedder: (embedder, the argument, the collection's fields, other arguments) -> the argument with vectors."""

CheckServer = Callable[[Server], None]
"""Raises for a server that does not have a method."""

# What a call raises whose collection has other fields than it had: the server, pymilvus, or the check of a field's dim.
STALE_FIELDS_ERRORS = (MilvusException, ValueError)


class BoundCall:
    """A call of a client's method with its arguments; the first of the arguments `names` may hold texts."""

    def __init__(self, bound: inspect.BoundArguments, embed: EmbedArgument, names: tuple[str, ...]) -> None:
        self._bound = bound
        self._embed = embed
        self._names = names
        self.client = bound.arguments["self"]
        self.collection: str = bound.arguments["collection_name"]
        self.timeout = bound.arguments.get("timeout")

    @property
    def has_text(self) -> bool:
        """Whether there may be texts, so that the collection's fields have to be known."""
        return has_text(self._bound.arguments.get(self._names[0]), dict)

    @property
    def known_fields(self) -> VectorFields | None:
        """The fields of the collection, where this client has asked for them."""
        fields: VectorFields | None = self.client._fields.get(self.collection)
        return fields

    def remember_fields(self, description: Mapping[str, Any]) -> VectorFields:
        """Keep and return the fields in what `describe_collection` returned."""
        fields = VectorFields.from_description(self.collection, description)
        self.client._fields[self.collection] = fields
        return fields

    def remember_server(self, version: str) -> Server:
        """Keep and return the server in what `get_server_version` returned."""
        server = Server.parse(version)
        self.client._server = server
        return server

    def embed(self, fields: VectorFields) -> inspect.BoundArguments:
        """The arguments with vectors in place of texts; those that were passed stay as they are."""
        arguments = self._bound.arguments
        value, *others = (arguments.get(name) for name in self._names)
        new = {**arguments, self._names[0]: self._embed(self.client._embedder, value, fields, *others)}
        return inspect.BoundArguments(self._bound.signature, new)


def embed_arguments(
    method: Callable[..., Any], embed: EmbedArgument, *names: str, check: CheckServer | None = None
) -> Callable[..., Any]:
    """`method` with the texts in its argument `names[0]` embedded before it is called.

    A collection is described once. Where a call fails, it is described again. If its fields have changed (somebody created it
    anew), the call is repeated with the vectors that they want.

    Args:
        method: of a client.
        embed: makes vectors of the texts; it is passed the arguments `names`.
        names: arguments of `method`.
        check: refuses a server without this method, before anything is encoded.

    Returns:
        A function with the signature of `method`.
    """
    signature = inspect.signature(method)

    @wraps(method)
    def embed_then_call(*args: Any, **kwargs: Any) -> Any:
        call = BoundCall(signature.bind(*args, **kwargs), embed, names)
        if not call.has_text:
            return method(*args, **kwargs)
        if check is not None:
            check(call.client._server or call.remember_server(call.client.get_server_version()))
        if (known := call.known_fields) is not None:
            try:
                new = call.embed(known)
                return method(*new.args, **new.kwargs)
            except STALE_FIELDS_ERRORS:
                if call.remember_fields(_describe(call)) == known:
                    raise
        new = call.embed(call.known_fields or call.remember_fields(_describe(call)))
        return method(*new.args, **new.kwargs)

    return embed_then_call


def embed_arguments_async(
    method: Callable[..., Coroutine[Any, Any, Any]], embed: EmbedArgument, *names: str, check: CheckServer | None = None
) -> Callable[..., Any]:
    """`embed_arguments` for a coroutine function: a thread encodes, and cancelling ends it at the next batch."""
    signature = inspect.signature(method)

    @wraps(method)
    async def embed_then_await(*args: Any, **kwargs: Any) -> Any:
        call = BoundCall(signature.bind(*args, **kwargs), embed, names)
        if not call.has_text:
            return await method(*args, **kwargs)
        if check is not None:
            check(call.client._server or call.remember_server(await call.client.get_server_version()))
        if (known := call.known_fields) is not None:
            try:
                new = await run_in_thread(call.embed, known)
                return await method(*new.args, **new.kwargs)
            except STALE_FIELDS_ERRORS:
                if call.remember_fields(await _describe(call)) == known:
                    raise
        new = await run_in_thread(call.embed, call.known_fields or call.remember_fields(await _describe(call)))
        return await method(*new.args, **new.kwargs)

    return embed_then_await


def _describe(call: BoundCall) -> Any:
    """The collection's description, or of an async client a coroutine that returns it."""
    return call.client.describe_collection(call.collection, timeout=call.timeout)
