"""What an ingest did, in numbers and in names."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import NamedTuple

log = logging.getLogger("taskvec")

SHOWN = 20  # failures that are printed; the list has them all


class Failure(NamedTuple):
    """A document that did not land whole and why; `chunk` where one of its chunks was refused, else None."""

    document_id: str
    reason: str
    chunk: int | None = None

    def __str__(self) -> str:
        chunk = "" if self.chunk is None else f", chunk {self.chunk}"
        return f"{self.document_id}{chunk}: {self.reason}"


@dataclass
class Counts:
    """Documents or chunks. When a run is over, read = skipped (nothing changed) + written + failed.

    encoded: those that the encoder had to read, wholly or in part. deleted: chunks that are no more, documents that lost some.
    """

    read: int = 0
    skipped: int = 0
    encoded: int = 0
    written: int = 0
    failed: int = 0
    deleted: int = 0

    @property
    def done(self) -> int:
        """Those that nothing more will happen to."""
        return self.skipped + self.written + self.failed

    def add(self, other: "Counts") -> None:
        """Count what others did, too."""
        for part in fields(self):
            setattr(self, part.name, getattr(self, part.name) + getattr(other, part.name))

    def __str__(self) -> str:
        parts = ("encoded", "written", "skipped", "failed", "deleted")
        return f"{self.read:,} read: " + ", ".join(f"{getattr(self, part):,} {part}" for part in parts)


@dataclass
class IngestReport:
    """What a run did; print it for a summary.

    failed: every document that did not land whole, with the reason. truncated: chunks cut at the model's context. retries: calls
    that were made again. seconds_encoding and seconds_uploading overlap, `seconds` is the wall clock. most_under_way: the
    most chunks that were between the encoder's input and the database at one time: all the work that a killed run can lose.
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
        """Count what a part of the run did; `seconds` and `most_under_way`, which parts share, are left alone."""
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
        lines += [f"failed: {failure}" for failure in self.failed[:SHOWN]]
        if len(self.failed) > SHOWN:
            lines.append(f"... and {len(self.failed) - SHOWN} more in report.failed")
        return "\n".join(lines)


@contextmanager
def timed(report: IngestReport, name: str, describe: Callable[[BaseException], str], part: bool = False) -> Iterator[None]:
    """Take the time of a run into `name`; unless it is a part of another, log how it ended, and note the report on an error."""
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
