"""A namespace of a Pinecone index as a Backend: look up, write, delete and find records. Knows the SDK, nothing of encoding.

Pinecone shows writes late, but the writes to one namespace in the order in which they were made. WrittenRecords remembers what
this process wrote until Pinecone shows it. What a killed process wrote and Pinecone does not show yet is written again under the
same ids. The record of a changed chunk gets a new id (records.py): the new record is written, then the old one is deleted. A run
that is killed in between leaves both, and the next run repairs that.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from pinecone import ApiError
from tenacity import Retrying, retry_if_exception, retry_if_result, stop_after_delay, wait_exponential

from taskvec_integrations.ingestion.backend import Backend, Found
from taskvec_integrations.ingestion.points import Hit, Point, Record, Vector
from taskvec_integrations.pinecone import errors
from taskvec_integrations.pinecone.errors import IncompleteUpsertError
from taskvec_integrations.pinecone.limits import DEFAULT_NAMESPACE, ENVELOPE_BYTES, MAX_REQUEST_BYTES, MAX_REQUEST_VECTORS
from taskvec_integrations.pinecone.records import (
    can_prefix_ids,
    document_id_of,
    hashes_by_point,
    is_record_of,
    point_id_of,
    record_id,
    short_floats,
    to_fields,
    to_record,
    weigh,
)
from taskvec_integrations.pinecone.written_records import WrittenRecords

METRICS = {"dotproduct": "dot", "euclidean": "euclid"}
"""Pinecone's names of metrics that `Record` calls otherwise."""

RECORD_NAMESPACE = "taskvec"
"""Holds, under the name of each other namespace, how its vectors were made (`Record`). No search of those namespaces finds it."""
RECORD_FIELD = "taskvec"
MAX_CONCURRENT_LOOKUPS = 8  # Pinecone answers 200 listings a second

log = logging.getLogger("taskvec")


class PineconeBackend(Backend):
    """A namespace of a serverless index.

    Args:
        index: The SDK's Index or GrpcIndex.
        namespace: Its name; "" is the default namespace.

    Raises:
        ValueError: The namespace is not ASCII, or is the one that holds the stores' own records.
    """

    max_batch_points = MAX_REQUEST_VECTORS
    max_batch_bytes = MAX_REQUEST_BYTES - ENVELOPE_BYTES
    first_wait = 2.0
    """The SDK has already tried several times within a second or two, so the next try waits longer."""
    visible_seconds = 60.0
    """How long to wait until a write can be read."""

    weigh = staticmethod(weigh)
    retry_after = staticmethod(errors.retry_after)
    refused = staticmethod(errors.refused)
    reason = staticmethod(errors.reason)

    def __init__(self, index: Any, namespace: str) -> None:
        namespace = "" if namespace == DEFAULT_NAMESPACE else namespace
        if namespace == RECORD_NAMESPACE or not namespace.isascii():
            raise ValueError(
                f"namespace is {namespace!r}: use an ASCII name other than {RECORD_NAMESPACE!r}, "
                "where the stores record how their vectors were made"
            )
        host = str(getattr(index, "host", "index")).rpartition("//")[2]
        self.name = f"{host}/{namespace or DEFAULT_NAMESPACE}"
        self._index = index
        self._namespace = namespace
        self._written = WrittenRecords(self._list)

    @staticmethod
    def point_id(document_id: str, chunk: int) -> str:
        """What the id of the chunk's record begins with, see records.py."""
        return f"{document_id}#{chunk}"

    def find(self) -> Found:
        """The namespace with its record. Only the index has to exist: its user creates it."""
        self._written.forget()
        stats = self._index.describe_index_stats()
        if stats.dimension is None:
            raise ValueError(f"the index of {self.name} has no dimension: create a dense index with metric cosine")
        metric = getattr(stats, "metric", None) or "cosine"  # other servers of Pinecone's API may leave it out
        record = self._record()
        names = {self._namespace, self._namespace or DEFAULT_NAMESPACE}
        empty = not any(stats.namespaces[name].vector_count for name in names if name in stats.namespaces)
        return Found(record, stats.dimension, METRICS.get(metric, metric), empty)

    def create(self, record: Record) -> None:
        """Never called, since `find` never returns None."""
        raise NotImplementedError("a store does not create Pinecone indexes: create one with pc.create_index(...)")

    def adopt(self, record: Record) -> None:
        """Write the record and wait until it can be read; TimeoutError where that takes too long."""
        values = [1.0] + [0.0] * (record.dimensions - 1)
        vector = {"id": self._namespace or DEFAULT_NAMESPACE, "values": values, "metadata": {RECORD_FIELD: record.to_json()}}
        self._index.upsert(vectors=[vector], namespace=RECORD_NAMESPACE)
        if not self._wait_until(lambda: self._record() == record):
            raise TimeoutError(f"the record of {self.name} could not be read {self.visible_seconds} s after it was written")
        self._written.forget(is_empty=True)

    def stored(self, document_ids: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """Look up each document by a listing by prefix, unless the namespace was empty and this run has not written it yet."""
        listable = [id for id in document_ids if can_prefix_ids(id)]
        with ThreadPoolExecutor(MAX_CONCURRENT_LOOKUPS, thread_name_prefix="taskvec-look-up") as pool:
            found = zip(listable, pool.map(self._written.get, listable), strict=True)
            return {id: hashes_by_point(record_ids) for id, record_ids in found if record_ids}

    def write(self, points: Sequence[Point]) -> None:
        """Upsert in one request, then delete the records that the new ones replace."""
        response = self._index.upsert(vectors=[to_record(point) for point in points], namespace=self._namespace)
        if response.upserted_count != len(points):
            raise IncompleteUpsertError(f"Pinecone took {response.upserted_count} of {len(points)} records")
        new = {point.id: record_id(point) for point in points}
        known = {id for document_id in {point.document_id for point in points} for id in self._written.get(document_id)}
        self._written.add(new.values())
        self._delete([id for id in known if new.get(point_id_of(id), id) != id])

    def delete(self, ids: Sequence[str]) -> None:
        """Delete points by id."""
        wanted, documents = set(ids), dict.fromkeys(map(document_id_of, ids))
        self._delete([id for document_id in documents for id in self._written.get(document_id) if point_id_of(id) in wanted])

    def query(self, vector: Vector, limit: int, filter: Any) -> list[Hit]:
        """The nearest records, with everything except their vectors."""
        found = self._index.query(
            vector=short_floats(vector), top_k=limit, filter=filter, include_metadata=True, namespace=self._namespace
        )
        return [Hit.of(match.id, match.score, to_fields(match.metadata)) for match in found.matches]

    def finish(self) -> None:
        """Wait until Pinecone shows the last change, and with it all earlier ones."""
        last = self._written.last_changed
        if last and not self._wait_until(lambda: self._list(last) == self._written.get(last)):
            log.warning("%s does not show its last change %s s after it was made", self.name, self.visible_seconds)
        self._written.last_changed = ""

    def _record(self) -> Record | None:
        id = self._namespace or DEFAULT_NAMESPACE
        with _ignore_missing_namespace():
            if vector := self._index.fetch(ids=[id], namespace=RECORD_NAMESPACE).vectors.get(id):
                return Record.from_json(vector.metadata[RECORD_FIELD])
        return None

    def _delete(self, record_ids: Sequence[str]) -> None:
        for start in range(0, len(record_ids), MAX_REQUEST_VECTORS):
            with _ignore_missing_namespace():
                self._index.delete(ids=list(record_ids[start : start + MAX_REQUEST_VECTORS]), namespace=self._namespace)
        self._written.remove(record_ids)

    def _list(self, document_id: str) -> frozenset[str]:
        """The ids of a document's records that Pinecone shows."""
        with _ignore_missing_namespace():
            return frozenset(id for id in self._pages(f"{document_id}#") if is_record_of(document_id, id))
        return frozenset()

    def _pages(self, prefix: str) -> Iterator[str]:
        """The ids of all pages of a listing."""
        next_page: dict[str, str] = {}
        while True:
            page = self._index.list_paginated(prefix=prefix, namespace=self._namespace, **next_page)
            yield from (item.id for item in page.vectors)
            token = page.pagination.next if page.pagination else None
            if not token:
                return
            next_page = {"pagination_token": token}

    def _wait_until(self, is_visible: Callable[[], bool]) -> bool:
        """Whether `is_visible` becomes true within `visible_seconds`; a server that is busy is asked again."""
        failed = retry_if_exception(lambda error: isinstance(error, Exception) and errors.retry_after(error) is not None)
        tries: Retrying = Retrying(
            retry=failed | retry_if_result(lambda visible: not visible),
            wait=wait_exponential(multiplier=0.05, max=2),
            stop=stop_after_delay(self.visible_seconds),
            retry_error_callback=lambda state: False,
        )
        return tries(is_visible)


@contextmanager
def _ignore_missing_namespace() -> Iterator[None]:
    """Pinecone answers 404 for a namespace that was never written or lost its last record: such a namespace is empty."""
    try:
        yield
    except ApiError as error:
        if error.status_code != 404:
            raise
