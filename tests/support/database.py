"""What the contract needs of a database: how to open a store on it, and how to look into it without taskvec."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from support.fake_backend import FakeBackend, FakeCollection, FakeStore
from taskvec_integrations.ingestion.points import uuid_of
from taskvec_integrations.store import Hit, IngestReport, Store


class Stored(NamedTuple):
    """A point as the database has it."""

    fields: dict[str, Any]
    vector: NDArray[np.float32]


class Database(Protocol):
    """One database for one test."""

    makes_collections: bool
    """Whether a store makes the collection; where not, its user has to."""
    nests: bool
    """Whether payloads may be nested."""

    def id(self, document_id: str, chunk: int, fields: dict[str, Any]) -> str:
        """What the id of a chunk should be."""

    def store(self, **settings: Any) -> Store:
        """A store on the collection docs; every call is a new one on the same database."""

    def points(self) -> dict[str, Stored]:
        """All points of docs by id, read with the database's own client."""

    def make(self, dimensions: int, metric: str = "cosine") -> None:
        """An empty collection docs as a user would make it."""

    def add_foreign_point(self, dimensions: int) -> None:
        """A point in docs that no store wrote."""

    def where(self, key: str, value: str) -> Any:
        """The database's filter for payload key == value."""

    def ingest(self, store: Store, documents: Iterable[Any], **options: Any) -> IngestReport:
        """Ingest the way that this row is about."""

    def search(self, store: Store, query: str, limit: int = 10, **options: Any) -> list[Hit]:
        """Search the way that this row is about."""

    def close(self) -> None:
        """The test is over."""


class Usual:
    """What most databases can."""

    makes_collections = nests = True

    def id(self, document_id: str, chunk: int, fields: dict[str, Any]) -> str:
        return uuid_of(document_id, chunk)


class Sync(Usual):
    """Rows that call the plain methods."""

    def ingest(self, store: Store, documents: Iterable[Any], **options: Any) -> IngestReport:
        return store.ingest(documents, **options)

    def search(self, store: Store, query: str, limit: int = 10, **options: Any) -> list[Hit]:
        return store.search(query, limit, **options)


class Async(Usual):
    """Rows that call the async ones."""

    def ingest(self, store: Store, documents: Iterable[Any], **options: Any) -> IngestReport:
        return asyncio.run(store.aingest(documents, **options))

    def search(self, store: Store, query: str, limit: int = 10, **options: Any) -> list[Hit]:
        return asyncio.run(store.asearch(query, limit, **options))


class Fake(Sync):
    def __init__(self, folder: Path) -> None:
        self._server: dict[str, FakeCollection] = {}

    def store(self, **settings: Any) -> Store:
        return FakeStore(FakeBackend(self._server), **settings)

    def points(self) -> dict[str, Stored]:
        return {id: Stored(*held) for id, held in self._server["docs"].points.items()}

    def make(self, dimensions: int, metric: str = "cosine") -> None:
        self._server["docs"] = FakeCollection(dimensions, metric)

    def add_foreign_point(self, dimensions: int) -> None:
        self._server["docs"].points["x"] = ({}, np.ones(dimensions, dtype=np.float32))

    def where(self, key: str, value: str) -> Any:
        return lambda fields: fields.get(key) == value

    def close(self) -> None:
        pass
