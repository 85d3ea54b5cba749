"""Keeping the report while a run goes on: one place that counts, from whichever thread something happened in."""

import threading
from collections.abc import Sequence

from taskvec_integrations.ingestion.backend import Point
from taskvec_integrations.ingestion.diff import DocumentDiff
from taskvec_integrations.ingestion.report import Failure, IngestReport


class ReportRecorder:
    """Enters what happens into a report. Every chunk and document that was read is entered once more when it is done."""

    def __init__(self, report: IngestReport) -> None:
        self.report = report
        self._under_way = 0
        self._lock = threading.Lock()

    def unusable(self, name: str, error: Exception) -> None:
        """An input that is no document."""
        with self._lock:
            self.report.documents.read += 1
            self.report.documents.failed += 1
            self.report.failed.append(Failure(name, str(error)))

    def planned(self, diff: DocumentDiff) -> None:
        """A document was read and compared with what is stored."""
        changed = len(diff.encode) + len(diff.rewrite)
        with self._lock:
            self.report.documents.read += 1
            self.report.documents.skipped += not diff.changed
            self.report.chunks.read += len(diff.spans)
            self.report.chunks.skipped += len(diff.spans) - changed

    def started(self, diff: DocumentDiff) -> None:
        """A document's changed chunks go to the encoder."""
        with self._lock:
            self._under_way += len(diff.encode)
            self.report.most_under_way = max(self.report.most_under_way, self._under_way)

    def encoded(self, chunks: int) -> None:
        """So many chunks of a document were encoded."""
        with self._lock:
            self.report.documents.encoded += 1
            self.report.chunks.encoded += chunks

    def written(self, points: Sequence[tuple[DocumentDiff, Point]]) -> None:
        """Points were written, in full or only their payload."""
        with self._lock:
            self.report.chunks.written += len(points)
            self._under_way -= sum(len(point.vector) > 0 for _, point in points)

    def refused(self, diff: DocumentDiff, point: Point, reason: str) -> None:
        """The server refused a point."""
        with self._lock:
            diff.failed = True
            self.report.chunks.failed += 1
            self.report.failed.append(Failure(point.document_id, reason, point.chunk))
            self._under_way -= len(point.vector) > 0

    def deleted(self, points: Sequence[tuple[DocumentDiff, str]]) -> None:
        """Points (their ids) that their documents no longer have were deleted."""
        with self._lock:
            self.report.chunks.deleted += len(points)
            for diff, _ in points:
                diff.shrunk = True

    def finished(self, diff: DocumentDiff) -> None:
        """The last of a changed document is through."""
        with self._lock:
            self.report.documents.failed += diff.failed
            self.report.documents.written += not diff.failed
            self.report.documents.deleted += diff.shrunk

    def retried(self) -> None:
        """A call is made again."""
        with self._lock:
            self.report.retries += 1

    def encoding(self, seconds: float) -> None:
        """The encoder took so long."""
        with self._lock:
            self.report.seconds_encoding += seconds

    def uploading(self, seconds: float) -> None:
        """A batch took so long, retries included."""
        with self._lock:
            self.report.seconds_uploading += seconds
