"""An embedded store, which one process at a time can have open, used by many: one actor has it open, the others ask that actor.

Knows backends and that they live elsewhere. Encoding stays with those who ask; what they write comes in order of arrival.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from taskvec_integrations.ingestion.backend import Backend, Found
from taskvec_integrations.ingestion.points import Hit, Point, Record, Vector
from taskvec_integrations.store_url import StoreURL


@dataclass(frozen=True)
class BackendTraits:
    """What a backend answers without its database; asked for every chunk, so it is sent to other processes once.

    Attributes:
        name: See `Backend`, as all of these.
        max_batch_points: The most points in a call of `write`.
        max_batch_bytes: The most bytes in a call of `write`.
        max_lookup: The most document ids in a call of `stored`.
        first_wait: Seconds before the second try of a call.
        writes_payloads: Whether `write_payloads` can be called.
        point_id: A function of document id and chunk.
        weigh: A function of a point; gives bytes.
    """

    name: str
    max_batch_points: int
    max_batch_bytes: int
    max_lookup: int
    first_wait: float
    writes_payloads: bool
    point_id: Callable[[str, int], str]
    weigh: Callable[[Point], int]

    @classmethod
    def of(cls, backend: Backend) -> Self:
        """The traits of a backend whose `point_id` and `weigh` are static methods, which can be pickled."""
        return cls(
            backend.name,
            backend.max_batch_points,
            backend.max_batch_bytes,
            backend.max_lookup,
            backend.first_wait,
            backend.writes_payloads,
            backend.point_id,
            backend.weigh,
        )


class StoreWriterError(RuntimeError):
    """An error of the database's client in the process that has the store open; this process may not know its class.

    Args:
        reason: What the backend reads in the error.
        retry_after: Seconds to wait before the next try; None where trying again will not help.
        refused: Whether the database refused what is in the batch.
    """

    def __init__(self, reason: str, retry_after: float | None, refused: bool) -> None:
        super().__init__(reason, retry_after, refused)
        self.reason = reason
        self.retry_after = retry_after
        self.refused = refused

    def __str__(self) -> str:
        return self.reason


class StoreWriterValueError(StoreWriterError, ValueError):
    """A `StoreWriterError` for a ValueError, such as a collection that does not fit."""


class StoreWriter:
    """The actor that has the store open.

    Args:
        url: The database.
        collection: The collection in it.
    """

    def __init__(self, url: StoreURL, collection: str) -> None:
        self._error: Exception | None = None
        try:
            with url.explaining():
                self._store = url.open(collection)
                self._store.backend.find()  # loads the collection: a writer that was restarted is asked to write at once
        except Exception as error:  # Ray would turn an error raised here into one long text
            self._error = error

    def traits(self) -> BackendTraits:
        """The backend's limits and functions; raises what went wrong when the store was opened."""
        if self._error:
            raise self._error
        return BackendTraits.of(self._store.backend)

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the backend; its errors become a StoreWriterError."""
        if self._error:
            raise self._error
        backend = self._store.backend
        try:
            return getattr(backend, method)(*arguments)
        except Exception as error:
            kind = StoreWriterValueError if isinstance(error, ValueError) else StoreWriterError
            raise kind(backend.reason(error), backend.retry_after(error), backend.refused(error)) from None

    def close(self) -> None:
        """Close the database, so that another process can open it."""
        if not self._error:
            self._store.close()


def start_writer(url: StoreURL, collection: str) -> ActorHandle[StoreWriter]:
    """Start a writer on the caller's machine, where the path is. It is restarted if it is lost, and calls are made again."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(StoreWriter).options(num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=here)
    return cast("ActorHandle[StoreWriter]", actor.remote(url, collection))


class RemoteBackend(Backend):
    """The backend of a StoreWriter, for use in any process of the cluster.

    Args:
        writer: The actor that has the store open.

    Raises:
        Exception: What went wrong when the actor opened the store.
    """

    def __init__(self, writer: ActorHandle[StoreWriter]) -> None:
        self._writer = writer
        traits: BackendTraits = _get(writer.traits.remote())
        self._traits: BackendTraits = traits
        self.name = traits.name
        self.max_batch_points = traits.max_batch_points
        self.max_batch_bytes = traits.max_batch_bytes
        self.max_lookup = traits.max_lookup
        self.first_wait = traits.first_wait
        self.writes_payloads = traits.writes_payloads

    def point_id(self, document_id: str, chunk: int) -> str:  # type: ignore[override]  # static in the backend it stands for
        """As the writer's backend makes it, without asking the writer."""
        return self._traits.point_id(document_id, chunk)

    def weigh(self, point: Point) -> int:  # type: ignore[override]  # static in the backend it stands for
        """As the writer's backend does, without asking the writer."""
        return self._traits.weigh(point)

    def find(self) -> Found | None:
        """As the writer finds it."""
        found: Found | None = self._ask("find")
        return found

    def create(self, record: Record) -> None:
        """Done by the writer."""
        self._ask("create", record)

    def adopt(self, record: Record) -> None:
        """Done by the writer."""
        self._ask("adopt", record)

    def stored(self, document_ids: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """As the writer finds it."""
        stored: Mapping[str, Mapping[str, str]] = self._ask("stored", document_ids)
        return stored

    def write(self, points: Sequence[Point]) -> None:
        """Done by the writer."""
        self._ask("write", points)

    def write_payloads(self, points: Sequence[Point]) -> None:
        """Done by the writer."""
        self._ask("write_payloads", points)

    def delete(self, ids: Sequence[str]) -> None:
        """Done by the writer."""
        self._ask("delete", ids)

    def query(self, vector: Vector, limit: int, filter: Any) -> list[Hit]:
        """Done by the writer."""
        hits: list[Hit] = self._ask("query", vector, limit, filter)
        return hits

    def finish(self) -> None:
        """Done by the writer."""
        self._ask("finish")

    def retry_after(self, error: Exception) -> float | None:
        """What the writer's backend says of its error."""
        return error.retry_after if isinstance(error, StoreWriterError) else None

    def refused(self, error: Exception) -> bool:
        """What the writer's backend says of its error."""
        return isinstance(error, StoreWriterError) and error.refused

    def _ask(self, method: str, *arguments: Any) -> Any:
        return _get(self._writer.call.remote(method, *arguments))


def _get(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise error.cause from None
