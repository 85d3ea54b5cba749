"""What Pinecone takes in a request, checked before anything is sent, so that an error names the record and what to do.

https://docs.pinecone.io/reference/api/database-limits
"""

from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Any, TypeVar

import orjson

from taskvec_integrations.pinecone import sdk

MAX_ID = 512
MAX_METADATA = 40 * 1024
MAX_VECTORS = 1000
MAX_BYTES = 2 * 1024 * 1024
ENVELOPE = 2048  # of a request's bytes: all that is not vectors, a namespace of 512 characters included

SCALARS = (str, bool, int, float)

T = TypeVar("T")


def check_id(id: object, where: str) -> str:
    """An id that Pinecone takes: 1 to 512 ASCII characters; anything else is an error that says where it stands."""
    if not isinstance(id, str):
        raise TypeError(f"{where} has the id {id!r}: a str was expected")
    if not id.isascii() or "\0" in id:
        raise ValueError(
            f"{where} has the id {id!r}: Pinecone takes ASCII only, so encode it, for instance with urllib.parse.quote"
        )
    if not 1 <= len(id) <= MAX_ID:
        raise ValueError(f"{where} has an id of {len(id)} characters, {id[:40]!r}...: Pinecone takes 1 to {MAX_ID}")
    return id


def check_metadata(metadata: Mapping[str, Any], where: str) -> None:
    """Metadata that Pinecone takes: flat, of strings, numbers, booleans and lists of strings, at most 40 KB."""
    sizes = {name: _size(name, value, where) for name, value in metadata.items()}
    if (size := sum(sizes.values())) > MAX_METADATA:
        longest = max(sizes, key=sizes.__getitem__)
        raise ValueError(
            f"{where} has {size:,} bytes of metadata, Pinecone takes {MAX_METADATA:,}: shorten or leave out the field "
            f"{longest!r}, or split its text into several records"
        )


def _size(name: str, value: object, where: str) -> int:
    """Bytes of a field of metadata; a value that Pinecone does not store is an error."""
    if value is None or (isinstance(value, float) and not isfinite(value)):
        raise ValueError(f"{where} has {value} in the field {name!r}: Pinecone stores no nulls, leave the field out")
    strings = isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
    if type(value) not in SCALARS and not strings:
        raise TypeError(
            f"{where} has {type(value).__name__} in the field {name!r}: "
            "Pinecone stores str, bool, int, float and lists of str, so convert or flatten it"
        )
    try:
        return len(orjson.dumps({name: value}))
    except TypeError as error:
        raise ValueError(f"{where} has a value in the field {name!r} that JSON cannot hold: {error}") from None


def batches(items: Iterable[T]) -> Iterator[list[T]]:
    """Items in order, as many together as one request takes by count and by the bytes that the SDK makes of them."""
    batch: list[T] = []
    room = MAX_BYTES - ENVELOPE
    for item in items:
        size = sdk.json_size(item) + 2  # a comma and a space
        if batch and (size > room or len(batch) == MAX_VECTORS):
            yield batch
            batch, room = [], MAX_BYTES - ENVELOPE
        batch.append(item)
        room -= size
    if batch:
        yield batch
