"""`taskvec ingest`: a source into a store. Puts together what exists (FileSource, StoreURL, Store) and says what came of it."""

from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from taskvec_integrations.cli.console import DONE, FAILED, INTERRUPTED, Tell, progress, say, show_failures
from taskvec_integrations.cli.dry_run import estimate
from taskvec_integrations.cli.loading import load
from taskvec_integrations.extras import require
from taskvec_integrations.files.sources import FileSource
from taskvec_integrations.ingestion.report import IngestReport
from taskvec_integrations.lazy_encoder import LazyEncoder
from taskvec_integrations.store import Store
from taskvec_integrations.store_url import StoreURL

COUNTS = ("read", "encoded", "written", "skipped", "deleted", "failed")


@dataclass(frozen=True)
class Target:
    """Where documents go and how they are encoded: what the options of the command say. ray: the address of a cluster."""

    url: StoreURL
    collection: str
    encoder: LazyEncoder
    dimensions: int | None
    late_chunking: bool
    chunk_tokens: int | None
    retry_seconds: float
    ray: str | None = None

    def open(self) -> Store:
        """The store."""
        return self.url.open(
            self.collection,
            encoder=self.encoder,
            dimensions=self.dimensions,
            late_chunking=self.late_chunking,
            chunk_tokens=self.chunk_tokens,
            retry_seconds=self.retry_seconds,
        )


def run(source: FileSource, target: Target, dry_run: bool, out: Console) -> int:
    """Ingest, or say what would be done; gives the exit code."""
    if dry_run:
        would_fail = estimate(
            source, target.encoder, target.chunk_tokens, target.late_chunking, target.dimensions, str(target.url), out
        )
        show_failures(would_fail)
        _say_doubled(source)
        return FAILED if would_fail else DONE
    report, interrupted = IngestReport(), False
    try:
        (_ingest if target.ray is None else _ingest_on_ray)(source, target, report)
    except KeyboardInterrupt:
        interrupted = True
    except BaseException:
        if report.documents.read:
            show(report, out)
        raise
    show(report, out)
    _say_doubled(source)
    if interrupted:
        say("Interrupted. What was written, at least the above, stays: the same command goes on from there.")
        return INTERRUPTED
    return FAILED if report.failed else DONE


def _ingest(source: FileSource, target: Target, report: IngestReport) -> None:
    with target.url.explaining(), target.open() as store:
        there = store.exists()  # a database that is down is said before a model is loaded, and is not waited for
        load(target.encoder)
        say(f"{'Adding to' if there else 'Making'} collection {target.collection} in {target.url}")
        with progress("ingesting", source.total, "documents") as tell:
            store.ingest(source, progress=_telling(tell, report), report=report)


def _ingest_on_ray(source: FileSource, target: Target, report: IngestReport) -> None:
    workers, cluster = require("taskvec_integrations.ray", "ray"), require("taskvec_integrations.ray.cluster", "ray")
    with target.url.explaining():
        with target.open() as store:
            store.exists()
        with cluster.joined(target.ray), progress("ingesting", source.total, "documents") as tell:
            workers.ingest_dataset(
                source,
                target.url,
                collection=target.collection,
                model=target.encoder.source,
                progress=_telling(tell, report),
                report=report,
                dimensions=target.dimensions,
                late_chunking=target.late_chunking,
                chunk_tokens=target.chunk_tokens,
                retry_seconds=target.retry_seconds,
                **{name: value for name, value in target.encoder.arguments.items() if value is not None},
            )


def _say_doubled(source: FileSource) -> None:
    if source.doubled:
        say(
            f"{source.doubled:,} times the id of an earlier document came again, or its text where there was no id (such as "
            f"{source.example!r}): the last one counts"
        )


def _telling(tell: Tell, report: IngestReport) -> Callable[[int, int | None], None]:
    def told(done: int, total: int | None) -> None:
        chunks = report.chunks
        tell(done, f", {chunks.done:,} chunks" + (f", {report.documents.failed:,} failed" if report.documents.failed else ""))

    return told


def show(report: IngestReport, out: Console) -> None:
    """The report as a table on `out`, the failures with their reasons on stderr."""
    table = Table("", *(Column(name, justify="right") for name in COUNTS))
    for name, counts in (("documents", report.documents), ("chunks", report.chunks)):
        table.add_row(name, *(f"{getattr(counts, column):,}" for column in COUNTS))
    out.print(table)
    said = [f"{report.seconds:.1f} s ({report.seconds_encoding:.1f} s encoding, {report.seconds_uploading:.1f} s writing)"]
    said += [f"{report.retries:,} calls tried again"] if report.retries else []
    said += [f"{report.truncated:,} chunks cut at the model's context"] if report.truncated else []
    out.print(Text(", ".join(said)), soft_wrap=True)
    show_failures(report.failed)
