"""Backend: what a store asks of a vector database. A new database is one file: a subclass of Backend, and a Store that makes it.

    class MyStore(Store):
        def __init__(self, client, collection, **options: Unpack[StoreOptions]):
            super().__init__(MyBackend(client, collection), **options)

Everything else is written once, in `Store` and `ingestion/`, and a backend need not think of it: encoding, tasks, ids, hashes,
batches, refusing a collection of another model, overlap, retries, splitting a refused batch, progress, the report.
tests/support/fake_backend.py is a whole backend, over a dictionary: copy it, replace the dictionary by the client, and add the
store to tests/support/databases.py, which runs the contract of all stores over it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from taskvec_integrations.ingestion.points import Hit, Point, Record, Vector, uuid_of


@dataclass(frozen=True, slots=True)
class Found:
    """A collection that is there, as `Backend.find` returns it.

    Args:
        record: The record stored in the collection, None where it has none because its user made it.
        dimensions: The length of its vectors, from its own schema.
        metric: How it compares vectors, from its own schema: "cosine", or the database's word for another.
        empty: Whether it holds no points; only looked at where `record` is None.
    """

    record: Record | None
    dimensions: int
    metric: str
    empty: bool


class Backend(ABC):
    """One collection of a vector database.

    The order of calls in a run: `find`, then `create` or `adopt` where the collection is new; then `stored` beside `write`,
    `write_payloads` and `delete`; at the end `finish`. A search is `find`, once, and `query`.

    Methods raise the errors of their client as they come: `retry_after` and `refused` say what those mean, and any other error
    ends the run. A write that failed is made again with the same arguments, and may have been done in part the first time.

    Example:
        The whole of a backend over an imagined client with seven methods::

            from taskvec_integrations.ingestion.backend import Backend, Found
            from taskvec_integrations.ingestion.points import HASH_FIELD, Hit, Record

            class MyBackend(Backend):
                def __init__(self, client, name):
                    self.client, self.name = client, name

                def find(self):
                    if not (collection := self.client.describe(self.name)):
                        return None
                    record = Record.from_json(collection.comment) if collection.comment else None
                    return Found(record, collection.size, collection.metric, collection.count == 0)

                def create(self, record):
                    self.client.create(self.name, size=record.dimensions, metric="cosine", comment=record.to_json())

                def adopt(self, record):
                    self.client.comment(self.name, record.to_json())

                def stored(self, document_ids):
                    found = {}
                    for row in self.client.rows(self.name, where={"document_id": document_ids}):
                        found.setdefault(row["document_id"], {})[row["id"]] = row[HASH_FIELD]
                    return found

                def write(self, points):
                    self.client.upsert(self.name, [(point.id, point.vector, point.fields()) for point in points])

                def delete(self, ids):
                    self.client.delete(self.name, ids)

                def query(self, vector, limit, filter):
                    rows = self.client.nearest(self.name, vector, limit, filter)
                    return [Hit.of(row["id"], row["score"], row) for row in rows]
    """

    name: str
    """The collection's name, as messages show it."""
    threaded = True
    """Whether `stored` and the writing methods may run in threads beside the caller's, one call of each kind at a time.
    False: every call of a run comes from the caller's thread."""
    max_batch_points = 256
    """The most points in one call of `write` or `write_payloads`."""
    max_batch_bytes = 8 << 20
    """The most bytes in one call of `write`, as `weigh` counts them; a heavier point is a batch of its own."""
    max_lookup = 256
    """The most document ids in one call of `stored`."""
    first_wait = 0.5
    """Seconds before the second try of a call that failed and may succeed; later waits are exponentially longer."""
    writes_payloads = False
    """Whether `write_payloads` works; where not, a chunk whose payload alone changed is encoded and written again."""

    @staticmethod
    def point_id(document_id: str, chunk: int) -> str:
        """The id of a chunk, the same in every run: a UUID, unless the database has better use for it."""
        return uuid_of(document_id, chunk)

    @abstractmethod
    def find(self) -> Found | None:
        """Look at the collection and change nothing.

        Returns:
            The collection as it is, None where there is none.

        Raises:
            ValueError: Something that only this backend can see is wrong, such as a vector field of another type; the message
                names what the collection has and what this store needs.
        """

    @abstractmethod
    def create(self, record: Record) -> None:
        """Make the collection, which `find` did not find.

        Args:
            record: `record.dimensions` is the length of the vectors, the metric is cosine. It is stored in the collection, where
                `find` reads it.
        """

    @abstractmethod
    def adopt(self, record: Record) -> None:
        """Store `record` in a collection that its user made: it exists, is empty, fits, and has no record."""

    @abstractmethod
    def stored(self, document_ids: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """Look up what the collection holds of some documents. Must see every write that has returned.

        Args:
            document_ids: At most `max_lookup` ids, each once.

        Returns:
            For each document the hash of each of its points: {document id: {point id: hash}}. All points of a document, however
            many, because those that it no longer has are deleted. Documents that are not there are left out.
        """

    @abstractmethod
    def write(self, points: Sequence[Point]) -> None:
        """Insert points, or replace those with the same id; return when all of them are durable.

        Args:
            points: At most `max_batch_points` that weigh at most `max_batch_bytes`, or one heavier point; each id once.
        """

    def write_payloads(self, points: Sequence[Point]) -> None:
        """Replace all fields of points that are there and keep their vectors; only called where `writes_payloads`.

        Args:
            points: As for `write`, with empty vectors.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot write payloads alone")

    @abstractmethod
    def delete(self, ids: Sequence[str]) -> None:
        """Delete points by id; an id that is not there is no error."""

    @abstractmethod
    def query(self, vector: Vector, limit: int, filter: Any) -> list[Hit]:
        """Find the nearest points by cosine.

        Args:
            vector: Shape (dimensions,), float32 of length 1.
            limit: The most hits to return.
            filter: The database's own kind of filter, as the caller of `Store.search` gave it, or None.

        Returns:
            The hits, best first.
        """

    def finish(self) -> None:  # noqa: B027
        """End a run that wrote anything, also one that failed: flush, wait until all of it can be searched."""

    @staticmethod
    def weigh(point: Point) -> int:
        """About the bytes that a point takes on the wire."""
        return point.payload_bytes + 4 * (len(point.text) + len(point.vector)) + 256

    def retry_after(self, error: Exception) -> float | None:
        """Say whether a call that failed with this error may succeed later.

        Returns:
            The seconds that the server asked to wait, 0 where it named none; None where trying again does not help. Only for
            the server's 429 and 503, timeouts and broken connections.
        """
        return 0.0 if isinstance(error, ConnectionError | TimeoutError) else None

    def refused(self, error: Exception) -> bool:
        """Say whether the server refused what is in the batch: too large, a bad value.

        Returns:
            True: the batch is split until the bad points are found, and the others are written. False: any batch would fail (no
            such collection, no permission), which ends the run.
        """
        return isinstance(error, ValueError | TypeError)

    def reason(self, error: Exception) -> str:
        """Why the server refused a point, in one line for the report."""
        return str(error) or type(error).__name__
