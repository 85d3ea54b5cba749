"""Keeping the report while a run goes on: one place that counts, from whichever thread something happened in."""

import threading
from collections.abc import Sequence

from taskvec_integrations.ingestion.diff import DocumentDiff
from taskvec_integrations.ingestion.points import Point
from taskvec_integrations.ingestion.report import Failure, IngestReport


class ReportRecorder:
    """Records what happens in a report. Every document and chunk that is read is recorded once more when it is done."""

    def __init__(self, report: IngestReport) -> None:
        self.report = report
        self._chunks_under_way = 0
        self._lock = threading.Lock()

    def record_unusable(self, name: str, error: Exception) -> None:
        """An input cannot be used as a document."""
        with self._lock:
            self.report.documents.read += 1
            self.report.documents.failed += 1
            self.report.failed.append(Failure(name, str(error)))

    def record_diff(self, diff: DocumentDiff) -> None:
        """A document was read and compared with what is stored."""
        changed = len(diff.chunks_to_encode) + len(diff.chunks_with_new_payload)
        with self._lock:
            self.report.documents.read += 1
            self.report.documents.skipped += not diff.has_changes
            self.report.chunks.read += len(diff.spans)
            self.report.chunks.skipped += len(diff.spans) - changed

    def record_encoder_input(self, diff: DocumentDiff) -> None:
        """A document's changed chunks go to the encoder."""
        with self._lock:
            self._chunks_under_way += len(diff.chunks_to_encode)
            self.report.most_under_way = max(self.report.most_under_way, self._chunks_under_way)

    def record_encoded(self, chunks: int) -> None:
        """A document was encoded: so many chunks."""
        with self._lock:
            self.report.documents.encoded += 1
            self.report.chunks.encoded += chunks

    def record_truncated(self, chunks: int) -> None:
        """So many chunks were cut at the model's context, in the whole run so far."""
        with self._lock:
            self.report.truncated = chunks

    def record_written(self, points: Sequence[tuple[DocumentDiff, Point]]) -> None:
        """Points were written, in full or only their payload."""
        with self._lock:
            self.report.chunks.written += len(points)
            self._chunks_under_way -= sum(len(point.vector) > 0 for _, point in points)

    def record_refused(self, diff: DocumentDiff, point: Point, reason: str) -> None:
        """The server refused a point."""
        with self._lock:
            diff.failed = True
            self.report.chunks.failed += 1
            self.report.failed.append(Failure(point.document_id, reason, point.chunk))
            self._chunks_under_way -= len(point.vector) > 0

    def record_deleted(self, deletions: Sequence[tuple[DocumentDiff, str]]) -> None:
        """Points (their ids) that their documents no longer have were deleted."""
        with self._lock:
            self.report.chunks.deleted += len(deletions)
            for diff, _ in deletions:
                diff.has_deletions = True

    def record_finished(self, diff: DocumentDiff) -> None:
        """All of a changed document was written, or failed."""
        with self._lock:
            self.report.documents.failed += diff.failed
            self.report.documents.written += not diff.failed
            self.report.documents.deleted += diff.has_deletions

    def record_retry(self) -> None:
        """A call is made again."""
        with self._lock:
            self.report.retries += 1

    def record_encoding_seconds(self, seconds: float) -> None:
        """The encoder took so long, less where it is negative."""
        with self._lock:
            self.report.seconds_encoding += seconds

    def record_uploading_seconds(self, seconds: float) -> None:
        """A batch took so long, retries included."""
        with self._lock:
            self.report.seconds_uploading += seconds
