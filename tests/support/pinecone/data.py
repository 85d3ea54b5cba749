"""What an emulated Pinecone index holds: namespaces of vectors, which readers may see late, and their limits.

Nothing of HTTP. A document of a document index is a vector here whose `fields` hold everything but its id.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support.pinecone.filters import Metadata, RejectedError, matches

MAX_ITEMS = 1000
MAX_METADATA = 40 * 1024
MAX_ID = 512
MAX_TOP_K = 10_000

DEFAULT = "__default__"  # also reached as ""

Vector = NDArray[np.float32]


@dataclass
class Record:
    """One stored vector (a float32 array), or document (its dense fields are arrays)."""

    id: str
    values: Vector | None
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass
class Data:
    """The namespaces as readers see them. A write becomes visible `lag` requests later, in the order of the writes."""

    dimension: int
    metric: str
    lag: float = 0
    namespaces: dict[str, dict[str, Record]] = field(default_factory=dict)
    _requests: int = 0
    _pending: deque[tuple[float, Callable[[], None]]] = field(default_factory=deque)

    @property
    def vector_kind(self) -> dict[str, Any]:
        """What statistics tell of the vectors of an index that has one of each record."""
        return {"dimension": self.dimension, "metric": self.metric, "vectorType": "dense"}

    def write(self, operation: Callable[[], None]) -> None:
        self._pending.append((self._requests + self.lag, operation))
        self._show()

    def count_request(self) -> None:
        """A request came: let readers see the writes that are due."""
        self._requests += 1
        self._show()

    def show_all(self) -> None:
        """Let readers see everything that was written."""
        self._show(float("inf"))

    def _show(self, due: float = 0) -> None:
        while self._pending and self._pending[0][0] <= max(due, self._requests):
            self._pending.popleft()[1]()

    def records(self, namespace: str) -> dict[str, Record]:
        """What readers see in a namespace."""
        return self.namespaces.get(namespace or DEFAULT, {})

    def upsert(self, namespace: str, records: list[Record]) -> None:
        if len(records) > MAX_ITEMS:
            raise RejectedError(400, f"The number of vectors {len(records)} exceeds the maximum of {MAX_ITEMS} per request")
        self.write(lambda: self.namespaces.setdefault(namespace or DEFAULT, {}).update({item.id: item for item in records}))

    def delete(self, namespace: str, chosen: Callable[[Record], bool]) -> None:
        if (namespace or DEFAULT) not in self.namespaces and not self._pending:
            raise RejectedError(404, "Namespace not found")

        def remove() -> None:
            records = self.records(namespace)
            for id in [id for id, record in records.items() if chosen(record)]:
                del records[id]
            if not records:
                self.namespaces.pop(namespace or DEFAULT, None)

        self.write(remove)

    def best(self, namespace: str, query: Vector, top_k: int, filter: Metadata | None, name: str | None) -> list[Any]:
        """(record, score) of the nearest, by `values` or by the dense field `name`."""
        if not 1 <= top_k <= MAX_TOP_K:
            raise RejectedError(400, f"top_k must be between 1 and {MAX_TOP_K}, got {top_k}")
        matches(filter, {})  # a bad one is refused even where nothing is stored
        found = [record for record in self.records(namespace).values() if matches(filter, record.fields)]
        vectors = [(record, record.values if name is None else record.fields.get(name)) for record in found]
        scored = [(record, self.score(query, vector)) for record, vector in vectors if vector is not None]
        order = -1 if self.metric == "euclidean" else 1
        return sorted(scored, key=lambda pair: pair[1] * order, reverse=True)[:top_k]

    def score(self, one: Vector, other: Vector) -> float:
        if self.metric == "euclidean":
            return float(np.square(one - other).sum())
        lengths = float(np.linalg.norm(one) * np.linalg.norm(other)) if self.metric == "cosine" else 1.0
        return float(one @ other) / lengths

    def vector(self, values: Iterable[float], dimension: int | None = None) -> Vector:
        """A float32 array of numbers from the wire, of the index's dimension and not all zero."""
        vector, wanted = np.asarray(values, np.float32), dimension or self.dimension
        if vector.size != wanted:
            raise RejectedError(400, f"Vector dimension {vector.size} does not match the dimension of the index {wanted}")
        if not vector.any():
            raise RejectedError(400, "Dense vectors must contain at least one non-zero value")
        return vector


def check_id(id: str) -> str:
    if not 1 <= len(id) <= MAX_ID:
        raise RejectedError(400, f"Vector ID length {len(id)} is not between 1 and {MAX_ID}")
    if not id.isascii() or "\0" in id:
        raise RejectedError(400, f"Vector ID must be ASCII, but got {id!r}")
    return id


def check_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Flat metadata of strings, numbers, booleans and lists of strings, at most 40 KB; numbers come back as floats."""
    size = len(json.dumps(metadata, ensure_ascii=False, separators=(",", ":")).encode())
    if size > MAX_METADATA:
        raise RejectedError(400, f"Metadata size is {size} bytes, which exceeds the limit of {MAX_METADATA} bytes per vector")
    for name, value in metadata.items():
        strings = isinstance(value, list) and all(isinstance(item, str) for item in value)
        if not strings and not isinstance(value, str | int | float | bool):
            got = f"got '{json.dumps(value)}' for field '{name}'"
            raise RejectedError(400, f"Metadata value must be a string, number, boolean or list of strings, {got}")
    return {name: float(value) if type(value) is int else value for name, value in metadata.items()}
