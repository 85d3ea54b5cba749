"""The seam between a Store and a vector database: what a backend is asked, and what it is handed.

A new database is one subclass of `Backend` (how to find and create the collection, what it holds, how to write, delete and query)
and a Store whose constructor makes it:

    class MilvusStore(Store):
        def __init__(self, client, collection, *, precision="float32", ..., **options: Unpack[StoreOptions]):
            super().__init__(MilvusBackend(client, collection, precision, ...), **options)

Everything else is written once, in `Store` and `ingest`, and a backend need not think of it: encoding, tasks, ids, hashes,
cutting batches, refusing a collection of another model, overlap, retries, splitting a refused batch, progress, the report.
Methods raise the errors of their client as they come; `retry_after` and `refused` say what those mean, any other error ends
the run.
"""

import json
import uuid
from abc import ABC, abstractmethod
from asyncio import AbstractEventLoop
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from taskvec import Task

Vector = NDArray[np.float32]

METRIC = "cosine"
BARE = "none"
"""How a record calls the bare model, which has no task."""
HASH_FIELD = "taskvec_hash"
FIELDS = ("document_id", "chunk", "text", HASH_FIELD)
"""What every stored point carries beside the user's payload, whose keys cannot have these names."""

ID_NAMESPACE = uuid.UUID("5f0d4a35-2f1b-5a2c-9c0e-7a3c1b8e4d61")
"""Of the ids of points. Changing it makes every collection be written again."""

caller_loop: ContextVar[AbstractEventLoop | None] = ContextVar("taskvec_caller_loop", default=None)
"""The event loop whose coroutine waits for this call (aingest, asearch), for a client that may only be used there."""


def uuid_of(document_id: str, chunk: int) -> str:
    """The id of a chunk: a UUID that is the same in every run."""
    return str(uuid.uuid5(ID_NAMESPACE, f"{document_id}/{chunk}"))


@dataclass(frozen=True, slots=True)
class Point:
    """A chunk as it is stored: `id` is `Backend.point_id`'s, `vector` (dimensions,) float32 of unit length, `payload` the user's.

    `hash` is an opaque text of at most 80 ASCII characters. `vector` is empty where only the payload changed (`write_payloads`).
    """

    id: str
    document_id: str
    chunk: int
    text: str
    hash: str
    payload: Mapping[str, Any]
    payload_bytes: int
    vector: Vector

    def fields(self) -> dict[str, Any]:
        """All that is stored beside id and vector: the user's payload and `FIELDS`."""
        return {**self.payload, **dict(zip(FIELDS, (self.document_id, self.chunk, self.text, self.hash), strict=True))}


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that a search found; `score` is the cosine, `payload` the user's own (without `FIELDS`)."""

    id: str
    document_id: str
    chunk: int
    score: float
    text: str
    payload: dict[str, Any]

    @classmethod
    def of(cls, id: str, score: float, fields: Mapping[str, Any]) -> Self:
        """A hit from what `Point.fields` stored (or somebody else, who may have left fields out)."""
        payload = {name: value for name, value in fields.items() if name not in FIELDS}
        return cls(id, fields.get("document_id", id), fields.get("chunk", 0), score, fields.get("text", ""), payload)


@dataclass(frozen=True, slots=True)
class Record:
    """How the vectors of a collection were made; written into the collection itself, compared whenever it is used again.

    document_task: a task's name, or BARE.
    """

    fingerprint: str
    dimensions: int
    document_task: str
    late_chunking: bool
    metric: str = METRIC

    @property
    def task(self) -> Task | None:
        """The task that documents are encoded with."""
        return None if self.document_task == BARE else Task(self.document_task)

    @classmethod
    def of(cls, written: Mapping[str, Any]) -> Self:
        """The record whose fields were written; ValueError where it is not one of this version."""
        try:
            return cls(**written)
        except TypeError:
            raise ValueError(f"this record of a collection is not of this version of taskvec: {dict(written)!r}") from None

    def to_json(self) -> str:
        """One line of JSON, for databases that keep text only."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The record that `to_json` wrote."""
        return cls.of(json.loads(text))


@dataclass(frozen=True, slots=True)
class Found:
    """A collection that is there: the record in it (None: it has none), what its own schema says, and whether it holds points."""

    record: Record | None
    dimensions: int
    metric: str
    empty: bool


class Backend(ABC):
    """A collection in a vector database. Methods may be called from one thread after another, see `threaded`."""

    name: str
    """How messages call the collection: its own name."""
    threaded = True
    """Whether writes and look-ups may run in threads beside the caller's; False: every call of a run comes from one thread."""
    max_batch_points = 256
    max_batch_bytes = 8 << 20
    """A batch to `write` has at most this many points and weighs at most this much (a heavier point is a batch of its own)."""
    max_lookup = 256
    """The most document ids in one call of `stored`."""
    first_wait = 0.5
    """Seconds before the second try of a call that failed and may succeed; later ones wait exponentially longer."""
    writes_payloads = False
    """Whether `write_payloads` diffs; where not, a chunk whose payload alone changed is encoded and written again."""

    @staticmethod
    def point_id(document_id: str, chunk: int) -> str:
        """The id of a chunk, the same in every run: a UUID, unless the database has better use for it."""
        return uuid_of(document_id, chunk)

    @abstractmethod
    def find(self) -> Found | None:
        """The collection as it is, None where there is none. Changes nothing.

        May raise ValueError for what only this backend can see is wrong (a vector field of another type), naming both sides.
        """

    @abstractmethod
    def create(self, record: Record) -> None:
        """Make the collection (`find` gave None) for `record.dimensions` and cosine, with `record` written into it."""

    @abstractmethod
    def adopt(self, record: Record) -> None:
        """Write `record` into the collection: it exists, is empty and fits, and has no record because the user made it."""

    @abstractmethod
    def stored(self, document_ids: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """What the collection holds of these documents: {document id: {point id: hash}}; those it does not know are left out.

        All points of a document, however many: those that the document no longer has are deleted. Must see finished writes.
        """

    @abstractmethod
    def write(self, points: Sequence[Point]) -> None:
        """Insert points or replace those of the same id, all of them durably or an error. Ids in a batch are distinct."""

    def write_payloads(self, points: Sequence[Point]) -> None:
        """Replace all fields of points that are there and leave their vectors; called only where `writes_payloads`."""
        raise NotImplementedError(f"{type(self).__name__} cannot write payloads alone")

    @abstractmethod
    def delete(self, ids: Sequence[str]) -> None:
        """Delete points by id; ids that are not there are no error."""

    @abstractmethod
    def query(self, vector: Vector, limit: int, filter: Any) -> list[Hit]:
        """The nearest points, best first, by cosine. `filter` is the database's own kind of filter, or None."""

    def finish(self) -> None:  # noqa: B027
        """Called once at the end of a run that wrote anything, also of one that failed: flush, wait until it can be searched."""

    @staticmethod
    def weigh(point: Point) -> int:
        """About the bytes a point takes on the wire."""
        return point.payload_bytes + 4 * (len(point.text) + len(point.vector)) + 256

    def retry_after(self, error: Exception) -> float | None:
        """None: trying again will not help. Else seconds the server asked to wait, 0 where it said nothing.

        For the server's 429, 503, timeouts and broken connections, nothing else.
        """
        return 0.0 if isinstance(error, ConnectionError | TimeoutError) else None

    def reason(self, error: Exception) -> str:
        """One line for the report: why the server refused a point."""
        return str(error) or type(error).__name__

    def refused(self, error: Exception) -> bool:
        """Whether the server refused what is in the batch (too large, bad value); the batch is then split to find the bad points.

        False for what would fail with any batch (no such collection, no permission): that ends the run.
        """
        return isinstance(error, ValueError | TypeError)
