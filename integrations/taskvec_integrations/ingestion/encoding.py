"""Encoding documents as they come, in the encoder's own batches: with late chunking whole ones, else the chunks that changed."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from taskvec import EncodeOptions, Encoder, Usage
from taskvec.late_chunking import Span
from taskvec_integrations.ingestion.backend import Record, Vector
from taskvec_integrations.ingestion.diff import Work
from taskvec_integrations.ingestion.recorder import Ledger

T = TypeVar("T")


class Encoding:
    """Gives each document the vectors of the chunks in `work.encode`, in order; one without such chunks keeps its place."""

    def __init__(self, encoder: Encoder, record: Record, ledger: Ledger) -> None:
        self._encoder = encoder
        self._late = record.late_chunking
        self._usage = Usage()
        self._options: EncodeOptions = {"task": record.task, "dimensions": record.dimensions, "usage": self._usage}
        self._ledger = ledger
        self._waiting: deque[Work] = deque()

    def __call__(self, works: Iterable[Work]) -> Iterator[tuple[Work, Sequence[Vector]]]:
        """The documents with their vectors, a block behind the input."""
        ahead = _timed(self._enqueued(works), lambda seconds: self._ledger.encoding(-seconds))
        for read, vectors in _timed(self._whole(ahead) if self._late else self._chunks(ahead), self._ledger.encoding):
            yield from self._without_vectors()
            work = self._waiting.popleft()
            self._ledger.encoded(read)
            self._ledger.report.truncated = self._usage.truncated
            yield work, vectors
        yield from self._without_vectors()

    def _enqueued(self, works: Iterable[Work]) -> Iterator[Work]:
        for work in works:
            self._waiting.append(work)
            if work.encode:
                self._ledger.started(work)
                yield work

    def _without_vectors(self) -> Iterator[tuple[Work, Sequence[Vector]]]:
        while self._waiting and not self._waiting[0].encode:
            yield self._waiting.popleft(), ()

    def _whole(self, works: Iterator[Work]) -> Iterator[tuple[int, Sequence[Vector]]]:
        """For each document how many chunks were encoded, which is all of them, and the vectors of those that changed."""
        ahead: deque[list[int]] = deque()

        def documents() -> Iterator[tuple[str, Sequence[Span]]]:
            for work in works:
                ahead.append(work.encode)
                yield work.source.text, work.spans

        for vectors in self._encoder.encode_spans_iter(documents(), **self._options):
            yield len(vectors), list(vectors[ahead.popleft()])

    def _chunks(self, works: Iterator[Work]) -> Iterator[tuple[int, Sequence[Vector]]]:
        """For each document how many chunks were encoded, which is those that changed, and their vectors."""
        ahead: deque[int] = deque()

        def texts() -> Iterator[str]:
            for work in works:
                ahead.append(len(work.encode))
                yield from map(work.chunk_text, work.encode)

        vectors = self._encoder.encode_iter(texts(), **self._options)
        for first in vectors:
            count = ahead.popleft()
            yield count, [first, *islice(vectors, count - 1)]


def _timed(iterator: Iterator[T], spend: Callable[[float], None]) -> Iterator[T]:
    """The same items; `spend` gets the seconds that each one took to come."""
    while True:
        start = time.perf_counter()
        try:
            item = next(iterator)
        except StopIteration:
            return
        finally:
            spend(time.perf_counter() - start)
        yield item
