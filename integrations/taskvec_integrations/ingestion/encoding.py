"""Encoding documents as they come, in the encoder's own batches: with late chunking whole ones, else the chunks that changed."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from taskvec import EncodeOptions, Encoder, Usage
from taskvec.integration import Span
from taskvec_integrations.ingestion.diff import DocumentDiff
from taskvec_integrations.ingestion.points import Record, Vector
from taskvec_integrations.ingestion.recorder import ReportRecorder

T = TypeVar("T")


class DocumentEncoder:
    """Makes the vectors of each document's `chunks_to_encode`; a document without such chunks keeps its place in the order."""

    def __init__(self, encoder: Encoder, record: Record, recorder: ReportRecorder) -> None:
        self._encoder = encoder
        self._late_chunking = record.late_chunking
        self._usage = Usage()
        self._options: EncodeOptions = {"task": record.task, "dimensions": record.dimensions, "usage": self._usage}
        self._recorder = recorder
        self._waiting: deque[DocumentDiff] = deque()

    def encode(self, diffs: Iterable[DocumentDiff]) -> Iterator[tuple[DocumentDiff, Sequence[Vector]]]:
        """Encode documents, reading one of the encoder's blocks ahead.

        Yields:
            Each document, in order, with the vectors of its `chunks_to_encode`, each (dimensions,) float32 of length 1.
        """
        ahead = _measure(self._enqueue(diffs), lambda seconds: self._recorder.record_encoding_seconds(-seconds))
        encode = self._encode_whole if self._late_chunking else self._encode_chunks
        for chunks, vectors in _measure(encode(ahead), self._recorder.record_encoding_seconds):
            yield from self._without_vectors()
            diff = self._waiting.popleft()
            self._recorder.record_encoded(chunks)
            self._recorder.record_truncated(self._usage.truncated)
            yield diff, vectors
        yield from self._without_vectors()

    def _enqueue(self, diffs: Iterable[DocumentDiff]) -> Iterator[DocumentDiff]:
        for diff in diffs:
            self._waiting.append(diff)
            if diff.chunks_to_encode:
                self._recorder.record_encoder_input(diff)
                yield diff

    def _without_vectors(self) -> Iterator[tuple[DocumentDiff, Sequence[Vector]]]:
        while self._waiting and not self._waiting[0].chunks_to_encode:
            yield self._waiting.popleft(), ()

    def _encode_whole(self, diffs: Iterator[DocumentDiff]) -> Iterator[tuple[int, Sequence[Vector]]]:
        """For each document how many chunks were encoded, which is all of them, and the vectors of those that changed."""
        ahead: deque[list[int]] = deque()

        def documents() -> Iterator[tuple[str, Sequence[Span]]]:
            for diff in diffs:
                ahead.append(diff.chunks_to_encode)
                yield diff.document.text, diff.spans

        for vectors in self._encoder.encode_spans_iter(documents(), **self._options):
            yield len(vectors), list(vectors[ahead.popleft()])

    def _encode_chunks(self, diffs: Iterator[DocumentDiff]) -> Iterator[tuple[int, Sequence[Vector]]]:
        """For each document how many chunks were encoded, which is those that changed, and their vectors."""
        ahead: deque[int] = deque()

        def texts() -> Iterator[str]:
            for diff in diffs:
                ahead.append(len(diff.chunks_to_encode))
                yield from map(diff.chunk_text, diff.chunks_to_encode)

        vectors = self._encoder.encode_iter(texts(), **self._options)
        for first in vectors:
            count = ahead.popleft()
            yield count, [first, *islice(vectors, count - 1)]


def _measure(iterator: Iterator[T], add_seconds: Callable[[float], None]) -> Iterator[T]:
    """The same items; `add_seconds` is called with the seconds that each one took to come."""
    while True:
        start = time.perf_counter()
        try:
            item = next(iterator)
        except StopIteration:
            return
        finally:
            add_seconds(time.perf_counter() - start)
        yield item
