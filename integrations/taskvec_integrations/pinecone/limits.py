"""What Pinecone takes in a request, checked before anything is sent, so that an error names the record and the fix.

https://docs.pinecone.io/reference/api/database-limits
"""

from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Any, TypeVar

import orjson

DEFAULT_NAMESPACE = "__default__"
"""Pinecone's name for the namespace that an empty name means, too."""

MAX_ID_CHARACTERS = 512
MAX_METADATA_BYTES = 40 * 1024
MAX_REQUEST_VECTORS = 1000
MAX_REQUEST_BYTES = 2 * 1024 * 1024
ENVELOPE_BYTES = 2048
"""Room for everything in a request that is not vectors, a namespace of 512 characters included."""

SCALARS = (str, bool, int, float)

T = TypeVar("T")


def check_id(id: object, where: str) -> str:
    """The id, if Pinecone takes it: 1 to 512 ASCII characters. `where` names the record in the error."""
    if not isinstance(id, str):
        raise TypeError(f"{where} has the id {id!r}: ids must be str")
    if not id.isascii() or "\0" in id:
        raise ValueError(
            f"{where} has the id {id!r}: Pinecone takes ASCII only, so encode it, for instance with urllib.parse.quote"
        )
    if not 1 <= len(id) <= MAX_ID_CHARACTERS:
        raise ValueError(
            f"{where} has an id of {len(id)} characters, {id[:40]!r}...: Pinecone takes 1 to {MAX_ID_CHARACTERS} characters"
        )
    return id


def check_metadata(metadata: Mapping[str, Any], where: str) -> None:
    """Raise where Pinecone would refuse metadata: flat, of str, numbers, bool and lists of str, at most 40 KB."""
    sizes = {name: _field_bytes(name, value, where) for name, value in metadata.items()}
    if (size := sum(sizes.values())) > MAX_METADATA_BYTES:
        longest = max(sizes, key=sizes.__getitem__)
        raise ValueError(
            f"{where} has {size:,} bytes of metadata, Pinecone takes {MAX_METADATA_BYTES:,}: shorten or leave out the field "
            f"{longest!r}, or split its text into several records"
        )


def _field_bytes(name: str, value: object, where: str) -> int:
    """The bytes of a field of metadata; raises for a value that Pinecone does not store."""
    if value is None or (isinstance(value, float) and not isfinite(value)):
        raise ValueError(
            f"{where} has {value} in the field {name!r}: Pinecone stores neither nulls nor infinite numbers nor NaN, "
            "so leave the field out"
        )
    is_strings = isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
    if type(value) not in SCALARS and not is_strings:
        raise TypeError(
            f"{where} has {type(value).__name__} in the field {name!r}: "
            "Pinecone stores str, bool, int, float and lists of str, so convert or flatten it"
        )
    try:
        return len(orjson.dumps({name: value}))
    except TypeError as error:
        raise ValueError(f"{where} has a value in the field {name!r} that JSON cannot hold: {error}") from None


def batches(items: Iterable[T]) -> Iterator[list[T]]:
    """The items in order, as many in a batch as one request takes, by count and by the bytes of their JSON."""
    batch: list[T] = []
    room = MAX_REQUEST_BYTES - ENVELOPE_BYTES
    for item in items:
        size = len(orjson.dumps(item)) + 1  # a comma
        if batch and (size > room or len(batch) == MAX_REQUEST_VECTORS):
            yield batch
            batch, room = [], MAX_REQUEST_BYTES - ENVELOPE_BYTES
        batch.append(item)
        room -= size
    if batch:
        yield batch
