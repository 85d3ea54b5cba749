"""Which records a namespace holds of each document, as this process knows it: its own writes count before Pinecone shows them."""

import threading
from collections.abc import Callable, Iterable
from itertools import groupby

from taskvec_integrations.pinecone.records import document_id_of, point_id_of

MAX_CACHED_RECORDS = 200_000


class WrittenRecords:
    """The ids of the records of documents; calls `look_up` for documents that it does not know. Thread-safe.

    Args:
        look_up: Returns the ids of a document's records that Pinecone shows.
    """

    def __init__(self, look_up: Callable[[str], frozenset[str]]) -> None:
        self._look_up = look_up
        self._documents: dict[str, frozenset[str]] = {}  # the latest last
        self._size = 0
        self._changed_hashes: set[int] | None = None  # of document ids, since the namespace was empty; None: it was not
        self._lock = threading.Lock()
        self.last_changed = ""
        """The document that was changed last and may not show yet; "" where everything shows."""

    def forget(self, *, is_empty: bool = False) -> None:
        """Forget what was looked up, since other processes may have written.

        Args:
            is_empty: The namespace holds nothing, so that only documents changed from now on need to be looked up.
        """
        with self._lock:
            if not self.last_changed:  # while a run is writing, a search beside it must not forget its writes
                self._documents.clear()
                self._size = 0
            self._changed_hashes = set() if is_empty else None

    def get(self, document_id: str) -> frozenset[str]:
        """The ids of a document's records."""
        record_ids = self._documents.get(document_id)
        if record_ids is None:
            is_new = self._changed_hashes is not None and hash(document_id) not in self._changed_hashes
            record_ids = frozenset() if is_new else self._look_up(document_id)
            self._cache(document_id, record_ids)
        return record_ids

    def add(self, record_ids: Iterable[str]) -> None:
        """Note that these records were written."""
        self._change(record_ids, frozenset.union)

    def remove(self, record_ids: Iterable[str]) -> None:
        """Note that these records were deleted."""
        self._change(record_ids, frozenset.difference)

    def _change(self, record_ids: Iterable[str], change: Callable[[frozenset[str], Iterable[str]], frozenset[str]]) -> None:
        for document_id, group in groupby(record_ids, lambda record_id: document_id_of(point_id_of(record_id))):
            self._cache(document_id, change(self.get(document_id), group))
            self.last_changed = document_id
            if self._changed_hashes is not None:
                self._changed_hashes.add(hash(document_id))

    def _cache(self, document_id: str, record_ids: frozenset[str]) -> None:
        with self._lock:
            self._size += 1 + len(record_ids) - self._evict(document_id)
            self._documents[document_id] = record_ids
            while self._size > MAX_CACHED_RECORDS and len(self._documents) > 1:
                self._size -= self._evict(next(iter(self._documents)))

    def _evict(self, document_id: str) -> int:
        """Drop a document; how much it counted."""
        record_ids = self._documents.pop(document_id, None)
        return 0 if record_ids is None else 1 + len(record_ids)
