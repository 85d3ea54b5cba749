"""Pinecone's metadata filters: which are allowed, and what they match. https://docs.pinecone.io/guides/search/filter-by-metadata"""

import operator
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

Metadata = Mapping[str, Any]


class RejectedError(Exception):
    """The server answers with a status and this message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _holds(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """A condition on a list of strings holds where it does for any of them."""
    return lambda stored, wanted: any(compare(item, wanted) for item in _items(stored))


def _items(stored: Any) -> list[Any]:
    return stored if isinstance(stored, list) else [] if stored is None else [stored]


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda stored, wanted: isinstance(stored, Real) and compare(stored, wanted)


OPERATORS: dict[str, tuple[type | tuple[type, ...], Callable[[Any, Any], bool]]] = {
    "$eq": ((str, int, float, bool), _holds(operator.eq)),
    "$ne": ((str, int, float, bool), lambda stored, wanted: wanted not in _items(stored)),
    "$gt": ((int, float), _ordered(operator.gt)),
    "$gte": ((int, float), _ordered(operator.ge)),
    "$lt": ((int, float), _ordered(operator.lt)),
    "$lte": ((int, float), _ordered(operator.le)),
    "$in": (list, lambda stored, wanted: any(item in wanted for item in _items(stored))),
    "$nin": (list, lambda stored, wanted: not any(item in wanted for item in _items(stored))),
    "$exists": (bool, lambda stored, wanted: (stored is not None) == wanted),
}
"""What each takes, and whether it holds for what is stored (None: the field is not there)."""

JOINS = {"$and": all, "$or": any}


def matches(filter: Metadata | None, metadata: Metadata) -> bool:
    """Whether a vector's metadata passes; a filter that Pinecone refuses raises RejectedError."""
    return all([_condition(name, wanted, metadata) for name, wanted in (filter or {}).items()])  # noqa: C419 every one is checked


def _condition(name: str, wanted: Any, metadata: Metadata) -> bool:
    if name in JOINS:
        if not isinstance(wanted, list) or not wanted:
            raise RejectedError(400, f"{name} needs a list of conditions")
        return JOINS[name]([matches(part, metadata) for part in wanted])
    if name.startswith("$"):
        raise RejectedError(400, f"{name} is not a valid field name")
    conditions = wanted if isinstance(wanted, dict) else {"$eq": wanted}
    return all([_operator(key, value, metadata.get(name)) for key, value in conditions.items()])  # noqa: C419 as above


def _operator(key: str, wanted: Any, stored: Any) -> bool:
    if key not in OPERATORS:
        raise RejectedError(400, f"Invalid operator: {key}")
    kinds, holds = OPERATORS[key]
    if not isinstance(wanted, kinds):
        raise RejectedError(400, f"the {key} operator must be followed by {kinds}, got {wanted!r}")
    return holds(stored, wanted)
