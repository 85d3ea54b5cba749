"""A database in a dictionary, with a backend and a store: the template for a new database, and what the pipeline is tested on.

FakeBackend answers everything that a store asks of a database (taskvec_integrations/ingestion/backend.py). In a real one the
dictionary `server` is the vendor's client. What only tests need, failing on request and counting calls, is in `_called`.
"""

import copy
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Unpack

from taskvec_integrations.ingestion.backend import Backend, Found
from taskvec_integrations.ingestion.points import HASH_FIELD, Hit, Point, Record, Vector
from taskvec_integrations.store import Store, StoreOptions

OnCall = Callable[[str, Sequence[Any]], None]
"""Takes the name of a method and its points or ids before they are used, and may raise."""


class BusyError(Exception):
    """429 or 503: try again, not before so many seconds."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(f"busy, come back in {seconds} s")
        self.seconds = seconds


class ForbiddenError(Exception):
    """401: no batch would get through."""


class FakeCollection:
    """What a collection holds: a record, and fields and vector of each point by id."""

    def __init__(self, dimensions: int, metric: str = "cosine", record: Record | None = None) -> None:
        self.dimensions = dimensions
        self.metric = metric
        self.record = record
        self.points: dict[str, tuple[dict[str, Any], Vector]] = {}


class FakeBackend(Backend):
    """One collection of a database in a dictionary.

    Args:
        server: The collections of the database by name; several backends may share it, as clients share a server.
        name: The collection's name.
        trouble: Is called before each call with the method's name and its points or ids, and may raise.
        **limits: Other values for the attributes of Backend, such as `max_batch_points`.

    Attributes:
        calls: The name of each method that was called, and how many points or ids it got.
        threads: The names of the threads that called.
        finished: How often `finish` was called.
    """

    first_wait = 0.001
    writes_payloads = True

    def __init__(
        self,
        server: dict[str, FakeCollection],
        name: str = "docs",
        trouble: OnCall = lambda method, batch: None,
        **limits: Any,
    ) -> None:
        self.name = name
        self.server = server
        self.trouble = trouble
        self.calls: list[tuple[str, int]] = []
        self.threads: set[str] = set()
        self.finished = 0
        for limit, value in limits.items():
            assert hasattr(Backend, limit), limit
            setattr(self, limit, value)

    def find(self) -> Found | None:
        self._called("find", [])
        if not (found := self.server.get(self.name)):
            return None
        return Found(found.record, found.dimensions, found.metric, empty=not found.points)

    def create(self, record: Record) -> None:
        self._called("create", [])
        assert self.name not in self.server
        self.server[self.name] = FakeCollection(record.dimensions, record=record)

    def adopt(self, record: Record) -> None:
        assert not self.server[self.name].points
        self.server[self.name].record = record

    def stored(self, document_ids: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        self._called("stored", document_ids)
        assert len(set(document_ids)) == len(document_ids) <= self.max_lookup
        stored: dict[str, dict[str, str]] = {}
        for id, (fields, _) in self.server[self.name].points.copy().items():  # while another thread writes
            if fields["document_id"] in document_ids:
                stored.setdefault(fields["document_id"], {})[id] = fields[HASH_FIELD]
        return stored

    def write(self, points: Sequence[Point]) -> None:
        self._called("write", points)
        assert len({point.id for point in points}) == len(points)
        collection = self.server[self.name]
        assert all(point.vector.shape == (collection.dimensions,) for point in points)
        collection.points |= {point.id: (copy.deepcopy(point.fields()), point.vector.copy()) for point in points}

    def write_payloads(self, points: Sequence[Point]) -> None:
        self._called("write_payloads", points)
        stored = self.server[self.name].points
        for point in points:
            stored[point.id] = (copy.deepcopy(point.fields()), stored[point.id][1])

    def delete(self, ids: Sequence[str]) -> None:
        self._called("delete", ids)
        for id in ids:
            self.server[self.name].points.pop(id, None)

    def query(self, vector: Vector, limit: int, filter: Any) -> list[Hit]:
        points = self.server[self.name].points.items()
        hits = [Hit.of(id, float(vector @ other), fields) for id, (fields, other) in points if not filter or filter(fields)]
        return sorted(hits, key=lambda hit: -hit.score)[:limit]

    def finish(self) -> None:
        self.finished += 1

    def retry_after(self, error: Exception) -> float | None:
        return error.seconds if isinstance(error, BusyError) else super().retry_after(error)

    def _called(self, method: str, batch: Sequence[Any]) -> None:
        self.calls.append((method, len(batch)))
        self.threads.add(threading.current_thread().name)
        self.trouble(method, batch)


class FakeStore(Store):
    """A store on a FakeBackend, which it shows as `backend`. A real one takes its client and makes the backend itself."""

    backend: FakeBackend

    def __init__(self, backend: FakeBackend, **options: Unpack[StoreOptions]) -> None:
        super().__init__(backend, **options)

    @property
    def fields(self) -> Iterator[dict[str, Any]]:
        """What is stored beside id and vector, for each point."""
        return (fields for fields, _ in self.backend.server[self.backend.name].points.values())

    @property
    def vectors(self) -> dict[tuple[str, int], Vector]:
        """The stored vectors by document and chunk."""
        points = self.backend.server[self.backend.name].points.values()
        return {(fields["document_id"], fields["chunk"]): vector for fields, vector in points}


class Trouble:
    """A server that is busy at every third call and refuses a bad word; give an instance as `trouble`."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, method: str, batch: Sequence[Any]) -> None:
        self.calls += 1
        if self.calls % 3 == 0:
            raise BusyError
        refuse_bad(method, batch)


def refuse_bad(method: str, batch: Sequence[Any]) -> None:
    """A server that refuses points with a bad word."""
    if method == "write" and any("bad" in point.text for point in batch):
        raise ValueError("a bad word")
