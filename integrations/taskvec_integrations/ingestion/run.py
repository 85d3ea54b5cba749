"""Ingestion: the pipeline, written once. It reads, checks and compares documents, encodes what changed, writes it, and reports.

The caller's thread reads and encodes; a thread beside it looks the next documents up and another one writes. Every stage hands
on a bounded amount. Where the backend is not `threaded`, all of it happens in the caller's thread.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import suppress
from contextvars import copy_context
from functools import partial

from taskvec import Encoder
from taskvec.integration import Progress, blocks, map_ahead, raise_if_stopped, reporting
from taskvec_integrations.ingestion.backend import Backend
from taskvec_integrations.ingestion.collection import open_for_writing
from taskvec_integrations.ingestion.diff import Differ, DocumentDiff
from taskvec_integrations.ingestion.documents import CheckedDocument, Input, name_of, read_document
from taskvec_integrations.ingestion.encoding import DocumentEncoder
from taskvec_integrations.ingestion.points import Record
from taskvec_integrations.ingestion.recorder import ReportRecorder
from taskvec_integrations.ingestion.report import IngestReport, timed
from taskvec_integrations.ingestion.retries import Retries, describe
from taskvec_integrations.ingestion.upload import Uploader

# Documents are compared in blocks of this many characters, or of so many documents where they are short.
COMPARE_CHARACTERS = 1 << 18
COMPARE_DOCUMENTS = 256


class Ingestion:
    """One run: documents into the collection of `backend`.

    Args:
        backend: The collection, which is made where there is none.
        encoder: Makes the vectors and counts tokens.
        record: The settings that the collection must have.
        chunk_tokens: Texts without chunks are split at so many tokens; None never splits.
        retry_seconds: For how long a call that may succeed later is tried again.
        report: Is filled while the run goes on.
        is_part: It is one of many parts of a larger run, whose caller opens the collection before the first part and finishes it
            after the last.
    """

    def __init__(
        self,
        backend: Backend,
        encoder: Encoder,
        record: Record,
        chunk_tokens: int | None,
        retry_seconds: float,
        report: IngestReport,
        is_part: bool = False,
    ) -> None:
        self._backend = backend
        self._record = record
        self._is_part = is_part
        self._recorder = ReportRecorder(report)
        stop = threading.Event()
        self._retries = Retries(backend, retry_seconds, stop, self._recorder.record_retry)
        self._differ = Differ(backend, lambda ids: self._retries.call(backend.stored, ids), encoder, record, chunk_tokens)
        self._document_encoder = DocumentEncoder(encoder, record, self._recorder)
        self._uploader = Uploader(backend, self._retries, self._recorder, stop, self._differ.mark_written)

    def run(self, documents: Iterable[Input], progress: Progress) -> IngestReport:
        """Ingest all documents. An error that ends the run early has the report so far as a note."""
        report, name = self._recorder.report, self._backend.name
        total = len(documents) if isinstance(documents, Sized) else None
        with (
            timed(report, name, partial(describe, self._backend), self._is_part),
            reporting(progress, total, "ingesting") as show,
        ):
            self._ingest(documents, lambda: show(report.documents.done, total))
        return report

    def open_collection(self) -> None:
        """Make the collection, or check that it fits."""
        self._retries.call(open_for_writing, self._backend, self._record)

    def _ingest(self, documents: Iterable[Input], show_progress: Callable[[], None]) -> None:
        if not self._is_part:
            self.open_collection()
        try:
            try:
                for diff, vectors in self._document_encoder.encode(self._changed(documents, show_progress)):
                    self._uploader.add(diff, vectors)
                    show_progress()
            except Exception:
                self._uploader.close()  # the documents before the one that failed are written
                raise
            self._uploader.close()
        except BaseException:
            self._uploader.abort()
            with suppress(Exception):
                self._finish()
            raise
        self._finish()
        show_progress()

    def _finish(self) -> None:
        if not self._is_part and self._recorder.report.changed:
            self._backend.finish()

    def _changed(self, documents: Iterable[Input], show_progress: Callable[[], None]) -> Iterator[DocumentDiff]:
        """Documents with chunks to encode, and others that must wait for those; the changes of all others are uploaded here."""
        for diffs in self._compare(documents):
            for diff in diffs:
                self._recorder.record_diff(diff)
                if diff.chunks_to_encode or (diff.has_changes and not self._differ.is_only_pending(diff)):
                    yield diff
                elif diff.has_changes:
                    self._uploader.add(diff, ())
            show_progress()

    def _compare(self, documents: Iterable[Input]) -> Iterator[list[DocumentDiff]]:
        min_size = COMPARE_CHARACTERS // COMPARE_DOCUMENTS
        batches = blocks(self._check(documents), lambda document: max(len(document.text), min_size), COMPARE_CHARACTERS)
        if not self._backend.threaded:
            return map(self._differ.compare, batches)
        context = copy_context()
        return map_ahead(lambda batch: context.run(self._differ.compare, batch), batches)

    def _check(self, documents: Iterable[Input]) -> Iterator[CheckedDocument]:
        for position, document in enumerate(documents):
            raise_if_stopped()  # where nothing has changed, nothing is encoded that would notice
            try:
                checked = read_document(document)
            except (TypeError, ValueError) as error:
                self._recorder.record_unusable(name_of(document, position), error)
            else:
                yield checked
