"""A namespace of a Pinecone index as an Engine: what it records, looks up, writes and finds. Knows the SDK, nothing of encoding.

Pinecone shows writes late, but those of a namespace in the order they were made. What this process wrote is remembered until it
shows; what a killed one wrote and does not show yet is written again under the same ids. A changed chunk has a record of another
id than before (records.py): the new one is written, then the old one deleted. A run that is killed in between leaves both, the
next one repairs that.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby
from typing import Any

from pinecone.exceptions import PineconeApiException
from tenacity import Retrying, retry_if_exception, retry_if_result, stop_after_delay, wait_exponential

from taskvec_integrations.engine import Engine, Found, Hit, Point, Record, Vector
from taskvec_integrations.pinecone import errors, sdk
from taskvec_integrations.pinecone.errors import IncompleteUpsertError, status
from taskvec_integrations.pinecone.limits import ENVELOPE, MAX_BYTES, MAX_VECTORS
from taskvec_integrations.pinecone.records import can_name, document_of, hashes, is_of, point_of, record_id, to_record, weigh

METRICS = {"dotproduct": "dot", "euclidean": "euclid"}
DEFAULT = "__default__"
RECORDS = "taskvec"
"""The namespace that holds the records of the others, each under the name of its namespace: no search of those can find them."""
FIELD = "taskvec"
REMEMBERED = 20_000  # documents
LOOK_UPS = 8  # at once; Pinecone answers 200 listings a second

log = logging.getLogger("taskvec")


class PineconeEngine(Engine):
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
        self._held: dict[str, frozenset[str]] = {}  # the records of documents, whether they show already or not; the latest last
        self._last = ""  # the document that was changed last
        self._written: set[int] | None = None  # hashes of the documents there are, where this run found an empty namespace
        self._lock = threading.Lock()

    def point_id(self, document_id: str, chunk: int) -> str:
        """The beginning of a record's id, see records.py."""
        return f"{document_id}#{chunk}"

    def find(self) -> Found:
        """The namespace with its record; it need not exist, the index must: it is the user's to make."""
        self._written = None
        if not self._last:  # no run is going on that this could be a search beside
            self._held.clear()
        stats = self._index.describe_index_stats()
        if stats.dimension is None:
            raise ValueError(f"the index of {self.name} has no dimension: a dense one with metric cosine is needed")
        metric = getattr(stats, "metric", None) or "cosine"
        record = self._record()
        counts = [stats.namespaces[name].vector_count for name in self._names() if name in stats.namespaces]
        return Found(record, stats.dimension, METRICS.get(metric, metric), not any(counts))

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
        self._written = set()

    def stored(self, document_ids: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """A listing by prefix for each document, unless this run found an empty namespace and has not written it since."""
        named = [id for id in document_ids if can_name(id)]
        with ThreadPoolExecutor(LOOK_UPS, thread_name_prefix="taskvec-look-up") as pool:
            found = zip(named, pool.map(self._records, named), strict=True)
            return {id: hashes(records) for id, records in found if records}

    def write(self, points: Sequence[Point]) -> None:
        """Upsert in one request, then delete what that replaces."""
        answer = self._index.upsert(vectors=[to_record(point) for point in points], namespace=self._namespace)
        if answer.upserted_count != len(points):
            raise IncompleteUpsertError(f"Pinecone took {answer.upserted_count} of {len(points)} records")
        replaced: list[str] = []
        for document_id, group in groupby(points, lambda point: point.document_id):
            new = {point.id: record_id(point) for point in group}
            before = self._records(document_id)
            replaced += [record for record in before if new.get(point_of(record), record) != record]
            self._hold(document_id, before.union(new.values()), changed=True)
        self._delete(replaced)

    def delete(self, ids: Sequence[str]) -> None:
        """Delete points by id."""
        wanted, documents = set(ids), dict.fromkeys(map(document_of, ids))
        self._delete([record for id in documents for record in self._records(id) if point_of(record) in wanted])

    def query(self, vector: Vector, limit: int, filter: Any) -> list[Hit]:
        """Nearest records, with all but the vector; Pinecone makes floats of whole numbers in a payload."""
        found = self._index.query(
            vector=sdk.short_floats(vector), top_k=limit, filter=filter, include_metadata=True, namespace=self._namespace
        )
        fields = [dict(match.metadata or {}) for match in found.matches]
        return [
            Hit.of(match.id, match.score, held | {"chunk": int(held.get("chunk", 0))})
            for match, held in zip(found.matches, fields, strict=True)
        ]

    def finish(self) -> None:
        """Wait until the last change shows, and with it all before it."""
        if self._last and not self._wait(lambda: self._list(self._last) == self._records(self._last)):
            log.warning("%s does not show its last change %s s after it was made", self.name, self.visible_seconds)
        self._last = ""

    def _names(self) -> set[str]:
        """How statistics may call the namespace."""
        return {self._namespace} if self._namespace else {"", DEFAULT}

    def _record(self) -> Record | None:
        id = self._namespace or DEFAULT
        with _in_no_namespace():
            if held := self._index.fetch(ids=[id], namespace=RECORDS).vectors.get(id):
                return Record.from_json(held.metadata[FIELD])
        return None

    def _records(self, document_id: str) -> frozenset[str]:
        """The records of a document, by id."""
        held = self._held.get(document_id)
        if held is None:
            new = self._written is not None and hash(document_id) not in self._written
            self._hold(document_id, held := frozenset() if new else self._list(document_id))
        return held

    def _hold(self, document_id: str, records: frozenset[str], changed: bool = False) -> None:
        with self._lock:
            self._held.pop(document_id, None)
            self._held[document_id] = records
            while len(self._held) > REMEMBERED:
                del self._held[next(iter(self._held))]
            if changed:
                self._last = document_id
                if self._written is not None:
                    self._written.add(hash(document_id))

    def _delete(self, records: Sequence[str]) -> None:
        for start in range(0, len(records), MAX_VECTORS):
            with _in_no_namespace():
                self._index.delete(ids=list(records[start : start + MAX_VECTORS]), namespace=self._namespace)
        for document_id, group in groupby(records, lambda record: document_of(point_of(record))):
            self._hold(document_id, self._records(document_id).difference(group), changed=True)

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
