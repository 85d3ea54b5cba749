"""The pipeline, written once: read and compare documents, encode what changed, write it, and keep the books.

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
from taskvec_integrations.ingestion.backend import Backend, Record
from taskvec_integrations.ingestion.collection import open_for_writing
from taskvec_integrations.ingestion.diff import Differ, DocumentDiff
from taskvec_integrations.ingestion.documents import CheckedDocument, Input, name_of, read_document
from taskvec_integrations.ingestion.encoding import Encoding
from taskvec_integrations.ingestion.recorder import ReportRecorder
from taskvec_integrations.ingestion.report import IngestReport, timed
from taskvec_integrations.ingestion.retries import Retries, describe
from taskvec_integrations.ingestion.upload import Uploader

# Documents compared with the store at once: this many characters, or 256 documents where they are short.
LOOK_AHEAD = 1 << 18


class Ingest:
    """One run: documents into the collection of `backend`, which is made if need be and has to fit `record`.

    part: it is one of many of a larger run, whose caller opens the collection before the first and finishes it after the last.
    """

    def __init__(
        self,
        backend: Backend,
        encoder: Encoder,
        record: Record,
        chunk_tokens: int | None,
        retry_seconds: float,
        report: IngestReport,
        part: bool = False,
    ) -> None:
        self._backend = backend
        self._record = record
        self._part = part
        self._recorder = ReportRecorder(report)
        stop = threading.Event()
        self._retries = Retries(backend, retry_seconds, stop, self._recorder.retried)
        self._differ = Differ(backend, lambda ids: self._retries(backend.stored, ids), encoder, record, chunk_tokens)
        self._encoding = Encoding(encoder, record, self._recorder)
        self._uploader = Uploader(backend, self._retries, self._recorder, stop, self._differ.finished)

    def __call__(self, documents: Iterable[Input], progress: Progress) -> IngestReport:
        """Ingest all documents. An error that ends the run early has the report so far as a note."""
        report, name = self._recorder.report, self._backend.name
        total = len(documents) if isinstance(documents, Sized) else None
        with timed(report, name, partial(describe, self._backend), self._part), reporting(progress, total, "ingesting") as tell:
            self._run(documents, lambda: tell(report.documents.done, total))
        return report

    def open(self) -> None:
        """Make the collection, or check that it is `record`'s."""
        self._retries(open_for_writing, self._backend, self._record)

    def _run(self, documents: Iterable[Input], tell: Callable[[], None]) -> None:
        if not self._part:
            self.open()
        try:
            try:
                for diff, vectors in self._encoding(self._changed(documents, tell)):
                    self._uploader.add(diff, vectors)
                    tell()
            except Exception:
                self._uploader.close()  # what came before a bad moment of the input is written
                raise
            self._uploader.close()
        except BaseException:
            self._uploader.abort()
            with suppress(Exception):
                self._finish()
            raise
        self._finish()
        tell()

    def _finish(self) -> None:
        if not self._part and self._recorder.report.changed:
            self._backend.finish()

    def _changed(self, documents: Iterable[Input], tell: Callable[[], None]) -> Iterator[DocumentDiff]:
        """Documents with something to encode (and what must wait for them); what there is to do for others is done here."""
        for diffs in self._plans(documents):
            for diff in diffs:
                self._recorder.planned(diff)
                if diff.encode or (diff.changed and not self._differ.is_alone(diff)):
                    yield diff
                elif diff.changed:
                    self._uploader.add(diff, ())
            tell()

    def _plans(self, documents: Iterable[Input]) -> Iterator[list[DocumentDiff]]:
        batches = blocks(self._sources(documents), lambda source: max(len(source.text), LOOK_AHEAD // 256), LOOK_AHEAD)
        if not self._backend.threaded:
            return map(self._differ, batches)
        context = copy_context()
        return map_ahead(lambda sources: context.run(self._differ, sources), batches)

    def _sources(self, documents: Iterable[Input]) -> Iterator[CheckedDocument]:
        for position, given in enumerate(documents):
            raise_if_stopped()  # where nothing has changed, nothing is encoded that would notice
            try:
                source = read_document(given)
            except (TypeError, ValueError) as error:
                self._recorder.unusable(name_of(given, position), error)
            else:
                yield source
