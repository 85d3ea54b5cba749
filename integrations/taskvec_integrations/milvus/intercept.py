"""Looking through the arguments of a client's method before it is called: its signature, name and docstring stay.

Knows signatures, threads and when a collection is described; what becomes of a text is the affair of Texts.
"""

import inspect
from collections.abc import Callable, Coroutine, Mapping
from functools import wraps
from typing import Any

from pymilvus import MilvusException

from taskvec.integration import run_in_thread
from taskvec_integrations.milvus.embed import Fields, has_text
from taskvec_integrations.milvus.server import Server

Fill = Callable[..., Any]
"""A method of Texts: (texts, the argument, the collection's fields, other arguments) -> the argument with vectors."""

Needs = Callable[[Server], None]
"""Raises for a server that does not have a method."""

# What a call raises whose collection has other fields than it had: the server, pymilvus, or the check of a field's dim.
STALE = (MilvusException, ValueError)


class Call:
    """A bound call of a client's method whose argument `names[0]` may hold texts."""

    def __init__(self, bound: inspect.BoundArguments, fill: Fill, names: tuple[str, ...]) -> None:
        self._bound = bound
        self._fill = fill
        self._names = names
        self.client = bound.arguments["self"]
        self.collection: str = bound.arguments["collection_name"]
        self.timeout = bound.arguments.get("timeout")

    @property
    def has_text(self) -> bool:
        """Whether there may be texts, so that the collection's fields have to be known."""
        return has_text(self._bound.arguments.get(self._names[0]), dict)

    @property
    def known(self) -> Fields | None:
        """The fields of the collection, where this client was told."""
        fields: Fields | None = self.client._fields.get(self.collection)
        return fields

    def learn(self, description: Mapping[str, Any]) -> Fields:
        """Keep what `describe_collection` returned."""
        fields = Fields.read(self.collection, description)
        self.client._fields[self.collection] = fields
        return fields

    def meet(self, version: str) -> Server:
        """Keep what `get_server_version` returned."""
        server = Server.parse(version)
        self.client._server = server
        return server

    def filled(self, fields: Fields) -> inspect.BoundArguments:
        """The arguments with vectors in place of texts; those that were passed stay as they are."""
        arguments = self._bound.arguments
        value, *others = (arguments.get(name) for name in self._names)
        new = {**arguments, self._names[0]: self._fill(self.client._texts, value, fields, *others)}
        return inspect.BoundArguments(self._bound.signature, new)


def embedding(method: Callable[..., Any], fill: Fill, *names: str, needs: Needs | None = None) -> Callable[..., Any]:
    """`method` with the texts in its argument `names[0]` embedded before it is called; `needs` refuses servers without it.

    A collection is described once. Where a call fails it is described again, and if its fields are others by now (somebody made
    it anew) the call is repeated with the vectors they want.
    """
    signature = inspect.signature(method)

    @wraps(method)
    def embedded(*args: Any, **kwargs: Any) -> Any:
        call = Call(signature.bind(*args, **kwargs), fill, names)
        if not call.has_text:
            return method(*args, **kwargs)
        if needs is not None:
            needs(call.client._server or call.meet(call.client.get_server_version()))
        if (known := call.known) is not None:
            try:
                filled = call.filled(known)
                return method(*filled.args, **filled.kwargs)
            except STALE:
                if call.learn(call.client.describe_collection(call.collection, timeout=call.timeout)) == known:
                    raise
        filled = call.filled(call.known or call.learn(call.client.describe_collection(call.collection, timeout=call.timeout)))
        return method(*filled.args, **filled.kwargs)

    return embedded


def embedding_async(
    method: Callable[..., Coroutine[Any, Any, Any]], fill: Fill, *names: str, needs: Needs | None = None
) -> Callable[..., Any]:
    """`embedding` for a coroutine function: a thread encodes, and cancelling ends it at the next batch."""
    signature = inspect.signature(method)

    @wraps(method)
    async def embedded(*args: Any, **kwargs: Any) -> Any:
        call = Call(signature.bind(*args, **kwargs), fill, names)
        if not call.has_text:
            return await method(*args, **kwargs)
        if needs is not None and hasattr(call.client, "get_server_version"):  # pymilvus 2.5 cannot ask
            needs(call.client._server or call.meet(await call.client.get_server_version()))
        if (known := call.known) is not None:
            try:
                filled = await run_in_thread(call.filled, known)
                return await method(*filled.args, **filled.kwargs)
            except STALE:
                if call.learn(await _describe(call)) == known:
                    raise
        filled = await run_in_thread(call.filled, call.known or call.learn(await _describe(call)))
        return await method(*filled.args, **filled.kwargs)

    return embedded


async def _describe(call: Call) -> Mapping[str, Any]:
    describe = getattr(call.client, "describe_collection", None) or call.client._get_connection().describe_collection  # 2.5
    description: Mapping[str, Any] = await describe(call.collection, timeout=call.timeout)
    return description
