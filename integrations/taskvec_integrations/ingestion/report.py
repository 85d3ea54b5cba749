"""What an ingest did, in numbers and in names."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import NamedTuple

log = logging.getLogger("taskvec")

MAX_SHOWN_FAILURES = 20  # in a printed report; `IngestReport.failed` has all


class Failure(NamedTuple):
    """A document that was not written whole.

    Attributes:
        document_id: The document's id, or its place in the input where it has none.
        reason: Why, in one line.
        chunk: The chunk that the server refused, None where the document itself cannot be used.
    """

    document_id: str
    reason: str
    chunk: int | None = None

    def __str__(self) -> str:
        chunk = "" if self.chunk is None else f", chunk {self.chunk}"
        return f"{self.document_id}{chunk}: {self.reason}"


@dataclass
class Counts:
    """How many documents or chunks. When a run is over, read = skipped + written + failed.

    Attributes:
        read: Those that came in.
        skipped: Those that were stored already, unchanged.
        encoded: Those that the encoder read, wholly or in part.
        written: Those that were written whole.
        failed: Those that were not.
        deleted: Chunks that their documents no longer have; documents that lost such chunks.
    """

    read: int = 0
    skipped: int = 0
    encoded: int = 0
    written: int = 0
    failed: int = 0
    deleted: int = 0

    @property
    def done(self) -> int:
        """Those that nothing more will happen to: skipped, written and failed."""
        return self.skipped + self.written + self.failed

    def add(self, other: "Counts") -> None:
        """Add the counts of a part."""
        for part in fields(self):
            setattr(self, part.name, getattr(self, part.name) + getattr(other, part.name))

    def __str__(self) -> str:
        parts = ("encoded", "written", "skipped", "failed", "deleted")
        return f"{self.read:,} read: " + ", ".join(f"{getattr(self, part):,} {part}" for part in parts)


@dataclass
class IngestReport:
    """What a run did; print it for a summary.

    Attributes:
        documents: How many documents.
        chunks: How many chunks.
        failed: Every document that was not written whole, with the reason.
        truncated: Chunks that were cut at the model's context.
        retries: Calls that were made again.
        most_under_way: The most chunks that were between the encoder's input and the database at one time: all the work that a
            killed run can lose.
        seconds: How long the run took.
        seconds_encoding: How long the encoder worked, beside the uploading.
        seconds_uploading: How long batches were written, beside the encoding.
    """

    documents: Counts = field(default_factory=Counts)
    chunks: Counts = field(default_factory=Counts)
    failed: list[Failure] = field(default_factory=list)
    truncated: int = 0
    retries: int = 0
    most_under_way: int = 0
    seconds: float = 0.0
    seconds_encoding: float = 0.0
    seconds_uploading: float = 0.0

    @property
    def changed(self) -> bool:
        """Whether anything in the collection was."""
        return bool(self.chunks.written or self.chunks.deleted)

    def add(self, part: "IngestReport") -> None:
        """Add what a part of the run did; `seconds` and `most_under_way`, which parts share, stay as they are."""
        self.documents.add(part.documents)
        self.chunks.add(part.chunks)
        self.failed += part.failed
        for name in ("truncated", "retries", "seconds_encoding", "seconds_uploading"):
            setattr(self, name, getattr(self, name) + getattr(part, name))

    def __str__(self) -> str:
        lines = [f"documents: {self.documents}", f"chunks:    {self.chunks}"]
        lines.append(f"{self.seconds:.1f} s, {self.seconds_encoding:.1f} s encoding, {self.seconds_uploading:.1f} s uploading")
        if self.retries:
            lines[-1] += f", {self.retries} calls tried again"
        if self.most_under_way:
            lines[-1] += f", at most {self.most_under_way:,} chunks under way at once"
        if self.truncated:
            lines.append(f"{self.truncated} chunks were cut at the length of the model's context")
        lines += [f"failed: {failure}" for failure in self.failed[:MAX_SHOWN_FAILURES]]
        if len(self.failed) > MAX_SHOWN_FAILURES:
            lines.append(f"... and {len(self.failed) - MAX_SHOWN_FAILURES} more in report.failed")
        return "\n".join(lines)


@contextmanager
def timed(report: IngestReport, name: str, describe: Callable[[BaseException], str], part: bool = False) -> Iterator[None]:
    """Measure a run and log how it ended; an error gets the report as a note.

    Args:
        report: Gets the seconds, also where an error ends the run.
        name: The collection's.
        describe: Says an error in one line.
        part: It is a part of another run, which logs for all of them.
    """
    start = time.perf_counter()
    try:
        yield
    except BaseException as error:
        report.seconds = time.perf_counter() - start
        if report.documents.read and not part:
            error.add_note(f"Ingested into {name} before this; the same call goes on from there:\n{report}")
            log.warning("Ingesting into %s ended early: %s\n%s", name, describe(error), report)
        raise
    report.seconds = time.perf_counter() - start
    if not part:
        log.info("Ingested into %s\n%s", name, report)
