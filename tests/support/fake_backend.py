"""A database in a dictionary, written against the seam like any other, which can be told to fail."""

import copy
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

import numpy as np

from taskvec_integrations.ingestion.backend import HASH_FIELD, Backend, Found, Hit, Point, Record, Vector
from taskvec_integrations.store import Store, StoreOptions


class BusyError(Exception):
    """429 or 503: try again, not before so many seconds."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(f"busy, come back in {seconds} s")
        self.seconds = seconds


class ForbiddenError(Exception):
    """401: no batch would get through."""


class FakeCollection:
    """What a collection holds: a record and points by id."""

    def __init__(self, dimensions: int, metric: str = "cosine", record: Record | None = None) -> None:
        self.dimensions = dimensions
        self.metric = metric
        self.record = record
        self.points: dict[str, tuple[dict[str, Any], Vector]] = {}


class Trouble:
    """A server that is busy every third call and refuses a bad word."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, method: str, batch: Sequence[Any]) -> None:
        self.calls += 1
        if self.calls % 3 == 0:
            raise BusyError
        if method == "write" and any("bad" in point.text for point in batch):
            raise ValueError("a bad word")


class FakeBackend(Backend):
    """Collections in `server`; `trouble` is called with (method, points or ids) before each call and may raise."""

    first_wait = 0.001
    writes_payloads = True

    def __init__(
        self,
        server: dict[str, FakeCollection],
        name: str = "docs",
        trouble: Callable[[str, Sequence[Any]], None] = lambda method, batch: None,
        **limits: Any,
    ) -> None:
        self.name = name
        self.server = server
        self.trouble = trouble
        self.calls: list[tuple[str, int]] = []
        self.threads: set[str] = set()
        self.finished = 0
        for limit, value in limits.items():
            assert hasattr(self, limit)
            setattr(self, limit, value)

    def find(self) -> Found | None:
        self._called("find", [])
        found = self.server.get(self.name)
        return found and Found(found.record, found.dimensions, found.metric, not found.points)

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
        held: dict[str, dict[str, str]] = {}
        for id, (fields, _) in self.server[self.name].points.copy().items():  # while another thread writes
            if fields["document_id"] in document_ids:
                held.setdefault(fields["document_id"], {})[id] = fields[HASH_FIELD]
        return held

    def write(self, points: Sequence[Point]) -> None:
        self._called("write", points)
        assert len({point.id for point in points}) == len(points)
        collection = self.server[self.name]
        assert all(point.vector.shape == (collection.dimensions,) for point in points)
        collection.points |= {point.id: (copy.deepcopy(point.fields()), point.vector.copy()) for point in points}

    def write_payloads(self, points: Sequence[Point]) -> None:
        self._called("write_payloads", points)
        held = self.server[self.name].points
        for point in points:
            held[point.id] = (copy.deepcopy(point.fields()), held[point.id][1])

    def delete(self, ids: Sequence[str]) -> None:
        self._called("delete", ids)
        for id in ids:
            self.server[self.name].points.pop(id, None)

    def query(self, vector: Vector, limit: int, filter: Any) -> list[Hit]:
        held = self.server[self.name].points
        found = [(id, float(vector @ own), fields) for id, (fields, own) in held.items() if not filter or filter(fields)]
        return [Hit.of(*one) for one in sorted(found, key=lambda one: -one[1])[:limit]]

    def finish(self) -> None:
        self.finished += 1

    def retry_after(self, error: Exception) -> float | None:
        return error.seconds if isinstance(error, BusyError) else super().retry_after(error)

    def _called(self, method: str, batch: Sequence[Any]) -> None:
        self.calls.append((method, len(batch)))
        self.threads.add(threading.current_thread().name)
        self.trouble(method, batch)


class FakeStore(Store):
    """A store on a FakeBackend, which it shows as `backend`."""

    def __init__(self, backend: FakeBackend, **options: Unpack[StoreOptions]) -> None:
        super().__init__(backend, **options)
        self.backend = backend

    @property
    def vectors(self) -> dict[tuple[str, int], np.ndarray[Any, Any]]:
        """Vectors by document and chunk."""
        points = self.backend.server[self.backend.name].points.values()
        return {(fields["document_id"], fields["chunk"]): vector for fields, vector in points}
