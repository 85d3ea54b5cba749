"""What a namespace holds of documents, as this process knows it: what was written counts at once, however late it shows."""

import threading
from collections.abc import Callable, Iterable
from itertools import groupby

from taskvec_integrations.pinecone.records import document_of, point_of

REMEMBERED = 200_000  # records


class Held:
    """The records of documents, by id; asks `look_up` for documents that it does not know. Used from several threads."""

    def __init__(self, look_up: Callable[[str], frozenset[str]]) -> None:
        self._look_up = look_up
        self._documents: dict[str, frozenset[str]] = {}  # the latest last
        self._size = 0
        self._written: set[int] | None = None
        self._lock = threading.Lock()
        self.last = ""
        """The document that was changed last, of those that may not show yet."""

    def forget(self, empty: bool = False) -> None:
        """Others may have written since. empty: the namespace holds nothing, so only what is written from now on is looked up."""
        with self._lock:
            if not self.last:  # else a run is going on, which this is a search beside
                self._documents.clear()
                self._size = 0
            self._written = set() if empty else None

    def of(self, document_id: str) -> frozenset[str]:
        """The records of a document."""
        held = self._documents.get(document_id)
        if held is None:
            new = self._written is not None and hash(document_id) not in self._written
            held = frozenset() if new else self._look_up(document_id)
            self._keep(document_id, held)
        return held

    def add(self, records: Iterable[str]) -> None:
        """These were written."""
        self._change(records, frozenset.union)

    def remove(self, records: Iterable[str]) -> None:
        """These were deleted."""
        self._change(records, frozenset.difference)

    def _change(self, records: Iterable[str], change: Callable[[frozenset[str], Iterable[str]], frozenset[str]]) -> None:
        for document_id, group in groupby(records, lambda record: document_of(point_of(record))):
            self._keep(document_id, change(self.of(document_id), group))
            self.last = document_id
            if self._written is not None:
                self._written.add(hash(document_id))

    def _keep(self, document_id: str, records: frozenset[str]) -> None:
        with self._lock:
            self._size += 1 + len(records) - self._drop(document_id)
            self._documents[document_id] = records
            while self._size > REMEMBERED and len(self._documents) > 1:
                self._size -= self._drop(next(iter(self._documents)))

    def _drop(self, document_id: str) -> int:
        held = self._documents.pop(document_id, None)
        return 0 if held is None else 1 + len(held)
