"""Encoding documents as they come, in the encoder's own batches: with late chunking whole ones, else the chunks that changed."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from taskvec import EncodeOptions, Encoder, Usage
from taskvec.integration import Span
from taskvec_integrations.ingestion.backend import Record, Vector
from taskvec_integrations.ingestion.diff import DocumentDiff
from taskvec_integrations.ingestion.recorder import ReportRecorder

T = TypeVar("T")


class Encoding:
    """Gives each document the vectors of the chunks in `diff.encode`, in order; one without such chunks keeps its place."""

    def __init__(self, encoder: Encoder, record: Record, recorder: ReportRecorder) -> None:
        self._encoder = encoder
        self._late = record.late_chunking
        self._usage = Usage()
        self._options: EncodeOptions = {"task": record.task, "dimensions": record.dimensions, "usage": self._usage}
        self._recorder = recorder
        self._waiting: deque[DocumentDiff] = deque()

    def __call__(self, diffs: Iterable[DocumentDiff]) -> Iterator[tuple[DocumentDiff, Sequence[Vector]]]:
        """The documents with their vectors, a block behind the input."""
        ahead = _timed(self._enqueued(diffs), lambda seconds: self._recorder.encoding(-seconds))
        for read, vectors in _timed(self._whole(ahead) if self._late else self._chunks(ahead), self._recorder.encoding):
            yield from self._without_vectors()
            diff = self._waiting.popleft()
            self._recorder.encoded(read)
            self._recorder.report.truncated = self._usage.truncated
            yield diff, vectors
        yield from self._without_vectors()

    def _enqueued(self, diffs: Iterable[DocumentDiff]) -> Iterator[DocumentDiff]:
        for diff in diffs:
            self._waiting.append(diff)
            if diff.encode:
                self._recorder.started(diff)
                yield diff

    def _without_vectors(self) -> Iterator[tuple[DocumentDiff, Sequence[Vector]]]:
        while self._waiting and not self._waiting[0].encode:
            yield self._waiting.popleft(), ()

    def _whole(self, diffs: Iterator[DocumentDiff]) -> Iterator[tuple[int, Sequence[Vector]]]:
        """For each document how many chunks were encoded, which is all of them, and the vectors of those that changed."""
        ahead: deque[list[int]] = deque()

        def documents() -> Iterator[tuple[str, Sequence[Span]]]:
            for diff in diffs:
                ahead.append(diff.encode)
                yield diff.source.text, diff.spans

        for vectors in self._encoder.encode_spans_iter(documents(), **self._options):
            yield len(vectors), list(vectors[ahead.popleft()])

    def _chunks(self, diffs: Iterator[DocumentDiff]) -> Iterator[tuple[int, Sequence[Vector]]]:
        """For each document how many chunks were encoded, which is those that changed, and their vectors."""
        ahead: deque[int] = deque()

        def texts() -> Iterator[str]:
            for diff in diffs:
                ahead.append(len(diff.encode))
                yield from map(diff.chunk_text, diff.encode)

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
