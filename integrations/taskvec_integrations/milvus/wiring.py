"""Looking through the arguments of a client's method before it is called: its signature, name and docstring stay.

Knows signatures, threads and when a collection is described; what becomes of a text is the affair of Texts.
"""

import inspect
from collections.abc import Callable, Coroutine, Mapping
from functools import wraps
from typing import Any

from pymilvus import AnnSearchRequest, MilvusException

from taskvec.pipeline import in_thread
from taskvec_integrations.milvus.server import Server
from taskvec_integrations.milvus.texts import Fields

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
    def may_hold_text(value: Any) -> bool:
    """Whether an argument may hold texts: it is one, rows, or a list of queries or of requests with texts among them."""
    if isinstance(value, AnnSearchRequest):
        return may_hold_text(value.data)
    if isinstance(value, list | tuple):
        return any(isinstance(item, str | dict) or (isinstance(item, AnnSearchRequest) and may_hold_text(item)) for item in value)
    return isinstance(value, str | dict)
