"""An embedded store, which one process at a time can have open, used by many: one actor owns it, the others ask that one.

Knows backends and that they live elsewhere. Encoding stays with those who ask; what they write comes in order of arrival.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from taskvec_integrations.ingestion.backend import Backend, Found, Hit, Point, Record, Vector
from taskvec_integrations.store_url import StoreURL

LIMITS = ("name", "max_batch_points", "max_batch_bytes", "max_lookup", "first_wait", "writes_payloads")
OWN = ("point_id", "weigh")
"""What is asked so often that it must be answered without the owner; these need nothing of a backend but its class."""


class Meaning(NamedTuple):
    """What a backend says about an error of its client."""

    reason: str
    retry_after: float | None
    refused: bool


class WriterError(RuntimeError):
    """An error of the database's client in the process that owns the store, which may not be understood in this one."""

    def __init__(self, meaning: Meaning) -> None:
        super().__init__(meaning.reason)
        self.meaning = meaning

    def __reduce__(self) -> tuple[type["WriterError"], tuple[Meaning]]:
        return type(self), (self.meaning,)


class WriterValueError(WriterError, ValueError):
    """The same for a ValueError: what the collection is does not fit."""


class Writer:
    """The actor that has the store open."""

    def __init__(self, url: StoreURL, collection: str) -> None:
        self._error: Exception | None = None
        try:
            with url.explaining():
                self._store = url.open(collection)
                self._store.backend.find()  # which loads it: a writer that comes back is asked to write at once
        except Exception as error:  # raised here it would reach the caller as one long text
            self._error = error

    def kind(self) -> tuple[type[Backend], dict[str, Any]]:
        """The backend's class and limits; what went wrong when the store was opened."""
        if self._error:
            raise self._error
        backend = self._store.backend
        return type(backend), {name: getattr(backend, name) for name in LIMITS}

    def call(self, method: str, *arguments: Any) -> Any:
        """What a method of the backend returns, or a WriterError."""
        if self._error:
            raise self._error
        backend = self._store.backend
        try:
            return getattr(backend, method)(*arguments)
        except Exception as error:
            meaning = Meaning(backend.reason(error), backend.retry_after(error), backend.refused(error))
            raise (WriterValueError if isinstance(error, ValueError) else WriterError)(meaning) from None

    def close(self) -> None:
        """Close the database, so that another process can open it."""
        if not self._error:
            self._store.close()


def start_writer(url: StoreURL, collection: str) -> ActorHandle[Writer]:
    """A writer on the caller's machine, where the path is; it comes back if it is lost, and calls are made again."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(Writer).options(num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=here)
    return cast("ActorHandle[Writer]", actor.remote(url, collection))


class WriterBackend(Backend):
    """The backend that a writer owns, as one that can be used anywhere."""

    def __init__(self, writer: ActorHandle[Writer]) -> None:
        self._writer = writer
        kind, limits = _get(writer.kind.remote())
        for name, value in limits.items():
            setattr(self, name, value)
        likeness = kind.__new__(kind)  # without a client
        for name in OWN:
            setattr(self, name, getattr(likeness, name))

    def find(self) -> Found | None:
        """As the writer finds it."""
        found: Found | None = self._ask("find")
        return found

    def create(self, record: Record) -> None:
        """By the writer."""
        self._ask("create", record)

    def adopt(self, record: Record) -> None:
        """By the writer."""
        self._ask("adopt", record)

    def stored(self, document_ids: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """As the writer finds it."""
        stored: Mapping[str, Mapping[str, str]] = self._ask("stored", document_ids)
        return stored

    def write(self, points: Sequence[Point]) -> None:
        """By the writer."""
        self._ask("write", points)

    def write_payloads(self, points: Sequence[Point]) -> None:
        """By the writer."""
        self._ask("write_payloads", points)

    def delete(self, ids: Sequence[str]) -> None:
        """By the writer."""
        self._ask("delete", ids)

    def query(self, vector: Vector, limit: int, filter: Any) -> list[Hit]:
        """By the writer."""
        hits: list[Hit] = self._ask("query", vector, limit, filter)
        return hits

    def finish(self) -> None:
        """By the writer."""
        self._ask("finish")

    def retry_after(self, error: Exception) -> float | None:
        """What the writer's backend says."""
        return error.meaning.retry_after if isinstance(error, WriterError) else None

    def refused(self, error: Exception) -> bool:
        """What the writer's backend says."""
        return isinstance(error, WriterError) and error.meaning.refused

    def _ask(self, method: str, *arguments: Any) -> Any:
        return _get(self._writer.call.remote(method, *arguments))


def _get(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise error.cause from None
