"""A namespace of a Pinecone index as a Backend: what it records, looks up, writes and finds. Knows the SDK, nothing of encoding.

Pinecone shows writes late, but those of a namespace in the order they were made. What this process wrote is remembered until it
shows; what a killed one wrote and does not show yet is written again under the same ids. A changed chunk has a record of another
id than before (records.py): the new one is written, then the old one deleted. A run that is killed in between leaves both, the
next one repairs that.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from pinecone.exceptions import PineconeApiException
from tenacity import Retrying, retry_if_exception, retry_if_result, stop_after_delay, wait_exponential

from taskvec_integrations.ingestion.backend import Backend, Found, Hit, Point, Record, Vector
from taskvec_integrations.pinecone import errors, sdk
from taskvec_integrations.pinecone.errors import IncompleteUpsertError, status
from taskvec_integrations.pinecone.limits import ENVELOPE, MAX_BYTES, MAX_VECTORS
from taskvec_integrations.pinecone.records import (
    can_name,
    document_of,
    hashes,
    is_of,
    point_of,
    record_id,
    to_fields,
    to_record,
    weigh,
)
from taskvec_integrations.pinecone.written_records import Held

METRICS = {"dotproduct": "dot", "euclidean": "euclid"}
DEFAULT = "__default__"
RECORDS = "taskvec"
"""The namespace that holds the records of the others, each under the name of its namespace: no search of those can find them."""
FIELD = "taskvec"
LOOK_UPS = 8  # at once; Pinecone answers 200 listings a second

log = logging.getLogger("taskvec")


class PineconeBackend(Backend):
    """The namespace `namespace` of an index."""

    max_batch_points = MAX_VECTORS
    max_batch_bytes = MAX_BYTES - ENVELOPE
    first_wait = 2.0
    """The SDK has already tried several times within a second or two: trying on at once would only multiply that."""
    visible_seconds = 60.0
    """How long to wait until something that was written can be read."""

    weigh = staticmethod(weigh)
    retry_after = staticmethod(errors.retry_after)
    refused = staticmethod(errors.refused)
    reason = staticmethod(errors.reason)

    def __init__(self, index: Any, namespace: str) -> None:
        _check_index(index)
        namespace = "" if namespace == DEFAULT else namespace
        if namespace == RECORDS or not namespace.isascii():
            raise ValueError(
                f"namespace is {namespace!r}: use another one, of ASCII, since {RECORDS!r} is kept for the stores' own"
            )
        host = str(getattr(index, "host", "index")).rpartition("//")[2]
        self.name = f"{host}/{namespace or DEFAULT}"
        self._index = index
        self._namespace = namespace
        self._held = Held(self._list)

    @staticmethod
    def point_id(document_id: str, chunk: int) -> str:
        """The beginning of a record's id, see records.py."""
        return f"{document_id}#{chunk}"

    def find(self) -> Found:
        """The namespace with its record; it need not exist, the index must: it is the user's to make."""
        self._held.forget()
        stats = self._index.describe_index_stats()
        if stats.dimension is None:
            raise ValueError(f"the index of {self.name} has no dimension: a dense one with metric cosine is needed")
        metric = getattr(stats, "metric", None) or "cosine"  # Pinecone says it; other servers of its API may not
        record = self._record()
        names = {self._namespace, self._namespace or DEFAULT}
        empty = not any(stats.namespaces[name].vector_count for name in names if name in stats.namespaces)
        return Found(record, stats.dimension, METRICS.get(metric, metric), empty)

    def create(self, record: Record) -> None:
        """Never called: `find` always finds."""
        raise NotImplementedError("a Pinecone index is made by its user")

    def adopt(self, record: Record) -> None:
        """Record, and wait until the next run would see it; TimeoutError where that takes too long."""
        values = [1.0] + [0.0] * (record.dimensions - 1)
        held = {"id": self._namespace or DEFAULT, "values": values, "metadata": {FIELD: record.to_json()}}
        self._index.upsert(vectors=[held], namespace=RECORDS)
        if not self._wait(lambda: self._record() == record):
            raise TimeoutError(f"the record of {self.name} could not be read {self.visible_seconds} s after it was written")
        self._held.forget(empty=True)

    def stored(self, document_ids: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """A listing by prefix for each document, unless this run found an empty namespace and has not written it since."""
        named = [id for id in document_ids if can_name(id)]
        with ThreadPoolExecutor(LOOK_UPS, thread_name_prefix="taskvec-look-up") as pool:
            found = zip(named, pool.map(self._held.of, named), strict=True)
            return {id: hashes(records) for id, records in found if records}

    def write(self, points: Sequence[Point]) -> None:
        """Upsert in one request, then delete what that replaces."""
        answer = self._index.upsert(vectors=[to_record(point) for point in points], namespace=self._namespace)
        if answer.upserted_count != len(points):
            raise IncompleteUpsertError(f"Pinecone took {answer.upserted_count} of {len(points)} records")
        new = {point.id: record_id(point) for point in points}
        held = {record for document_id in {point.document_id for point in points} for record in self._held.of(document_id)}
        self._held.add(new.values())
        self._delete([record for record in held if new.get(point_of(record), record) != record])

    def delete(self, ids: Sequence[str]) -> None:
        """Delete points by id."""
        wanted, documents = set(ids), dict.fromkeys(map(document_of, ids))
        self._delete([record for id in documents for record in self._held.of(id) if point_of(record) in wanted])

    def query(self, vector: Vector, limit: int, filter: Any) -> list[Hit]:
        """Nearest records, with all but the vector."""
        found = self._index.query(
            vector=sdk.short_floats(vector), top_k=limit, filter=filter, include_metadata=True, namespace=self._namespace
        )
        return [Hit.of(match.id, match.score, to_fields(match.metadata)) for match in found.matches]

    def finish(self) -> None:
        """Wait until the last change shows, and with it all before it."""
        last = self._held.last
        if last and not self._wait(lambda: self._list(last) == self._held.of(last)):
            log.warning("%s does not show its last change %s s after it was made", self.name, self.visible_seconds)
        self._held.last = ""

    def _record(self) -> Record | None:
        id = self._namespace or DEFAULT
        with _in_no_namespace():
            if held := self._index.fetch(ids=[id], namespace=RECORDS).vectors.get(id):
                return Record.from_json(held.metadata[FIELD])
        return None

    def _delete(self, records: Sequence[str]) -> None:
        for start in range(0, len(records), MAX_VECTORS):
            with _in_no_namespace():
                self._index.delete(ids=list(records[start : start + MAX_VECTORS]), namespace=self._namespace)
        self._held.remove(records)

    def _list(self, document_id: str) -> frozenset[str]:
        """The records of a document that show."""
        with _in_no_namespace():
            return frozenset(record for record in self._pages(f"{document_id}#") if is_of(document_id, record))
        return frozenset()

    def _pages(self, prefix: str) -> Iterator[str]:
        more: dict[str, str] = {}
        while True:
            page = self._index.list_paginated(prefix=prefix, namespace=self._namespace, **more)
            yield from (item.id for item in page.vectors)
            token = page.pagination.next if page.pagination else None
            if not token:
                return
            more = {"pagination_token": token}

    def _wait(self, shows: Callable[[], bool]) -> bool:
        """Whether it shows in time; a server that is busy meanwhile is asked again."""
        failed = retry_if_exception(lambda error: isinstance(error, Exception) and errors.retry_after(error) is not None)
        tries: Retrying = Retrying(
            retry=failed | retry_if_result(lambda shown: not shown),
            wait=wait_exponential(multiplier=0.05, max=2),
            stop=stop_after_delay(self.visible_seconds),
            retry_error_callback=lambda state: False,
        )
        return tries(shows)


@contextmanager
def _in_no_namespace() -> Iterator[None]:
    """A namespace that was never written, or lost its last record, is an empty one."""
    try:
        yield
    except PineconeApiException as error:
        if status(error) != 404:
            raise


def _check_index(index: Any) -> None:
    if not hasattr(index, "describe_index_stats"):
        raise TypeError(f"index is {index!r}: an index was expected, such as pc.index(...) or pc.Index(...) gives")
    if sdk.is_async(index):
        raise TypeError(f"index is {index!r}: a plain Index was expected (aingest and asearch use it in a thread)")
