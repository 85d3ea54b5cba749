"""`taskvec ingest`: a source into a store. Puts FileSource, StoreURL and Store together, and prints what was done."""

from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from taskvec_integrations.cli.console import (
    EXIT_DONE,
    EXIT_FAILURES,
    EXIT_INTERRUPTED,
    UpdateBar,
    print_failures,
    print_line,
    progress_bar,
)
from taskvec_integrations.cli.dry_run import estimate
from taskvec_integrations.cli.model_loading import load_model
from taskvec_integrations.extras import require
from taskvec_integrations.files.sources import FileSource
from taskvec_integrations.ingestion.report import IngestReport
from taskvec_integrations.lazy_encoder import LazyEncoder
from taskvec_integrations.store import Store
from taskvec_integrations.store_url import StoreURL

COUNTS = ("read", "encoded", "written", "skipped", "deleted", "failed")
"""The columns of the table, which are fields of `Counts`."""


@dataclass(frozen=True)
class IngestTarget:
    """Where documents go and how they are encoded: what the options of the command say.

    Attributes:
        url: The database.
        collection: The collection, in Pinecone the namespace.
        encoder: The model, not loaded yet.
        dimensions: The length of a vector; None is the model's full width.
        late_chunking: Whether the chunks of a document share its context.
        chunk_tokens: Longer texts are split; None never splits.
        retry_seconds: How long a call that may succeed later is tried again.
        ray: The address of the cluster that does the work; None is this process.
    """

    url: StoreURL
    collection: str
    encoder: LazyEncoder
    dimensions: int | None
    late_chunking: bool
    chunk_tokens: int | None
    retry_seconds: float
    ray: str | None = None

    def open(self) -> Store:
        """Open the store; the model is loaded when it is first needed."""
        return self.url.open(
            self.collection,
            encoder=self.encoder,
            dimensions=self.dimensions,
            late_chunking=self.late_chunking,
            chunk_tokens=self.chunk_tokens,
            retry_seconds=self.retry_seconds,
        )


def run(source: FileSource, target: IngestTarget, dry_run: bool, out: Console) -> int:
    """Ingest a source, or print what would be done.

    Args:
        source: The documents.
        target: Where they go.
        dry_run: Read, split and measure only.
        out: Where the table is printed; failures go to stderr.

    Returns:
        The exit code.
    """
    return _dry_run(source, target, out) if dry_run else _run(source, target, out)


def _dry_run(source: FileSource, target: IngestTarget, out: Console) -> int:
    failures = estimate(
        source, target.encoder, target.chunk_tokens, target.late_chunking, target.dimensions, str(target.url), out
    )
    print_failures(failures)
    _warn_of_duplicates(source)
    return EXIT_FAILURES if failures else EXIT_DONE


def _run(source: FileSource, target: IngestTarget, out: Console) -> int:
    report, interrupted = IngestReport(), False
    try:
        (_ingest if target.ray is None else _ingest_on_ray)(source, target, report)
    except KeyboardInterrupt:
        interrupted = True
    except BaseException:
        if report.documents.read:
            print_report(report, out)
        raise
    print_report(report, out)
    _warn_of_duplicates(source)
    if interrupted:
        print_line("Interrupted. What was written, at least the above, stays: the same command goes on from there.")
        return EXIT_INTERRUPTED
    return EXIT_FAILURES if report.failed else EXIT_DONE


def _ingest(source: FileSource, target: IngestTarget, report: IngestReport) -> None:
    with target.url.explaining(), target.open() as store:
        exists = store.exists()  # asked before the model is loaded, and without retries, so that a database that is down is known
        load_model(target.encoder)
        print_line(f"{'Adding to' if exists else 'Making'} collection {target.collection} in {target.url}")
        with progress_bar("ingesting", source.total, "documents") as update_bar:
            store.ingest(source, progress=_progress_function(update_bar, report), report=report)


def _ingest_on_ray(source: FileSource, target: IngestTarget, report: IngestReport) -> None:
    workers, cluster = require("taskvec_integrations.ray", "ray"), require("taskvec_integrations.ray.cluster", "ray")
    with target.url.explaining():
        with target.open() as store:
            store.exists()
        with cluster.join_cluster(target.ray), progress_bar("ingesting", source.total, "documents") as update_bar:
            workers.ingest_dataset(
                source,
                target.url,
                collection=target.collection,
                model=target.encoder.source,
                progress=_progress_function(update_bar, report),
                report=report,
                dimensions=target.dimensions,
                late_chunking=target.late_chunking,
                chunk_tokens=target.chunk_tokens,
                retry_seconds=target.retry_seconds,
                **{name: value for name, value in target.encoder.arguments.items() if value is not None},
            )


def _warn_of_duplicates(source: FileSource) -> None:
    if source.duplicates:
        print_line(
            f"{source.duplicates:,} times the id of an earlier document came again, or its text where there was no id (such as "
            f"{source.duplicate_example!r}): the last one counts"
        )


def _progress_function(update_bar: UpdateBar, report: IngestReport) -> Callable[[int, int | None], None]:
    def progress(done: int, total: int | None) -> None:
        failed = f", {report.documents.failed:,} failed" if report.documents.failed else ""
        update_bar(done, f", {report.chunks.done:,} chunks{failed}")

    return progress


def print_report(report: IngestReport, out: Console) -> None:
    """Print the report as a table on `out`, and the failures with their reasons on stderr."""
    table = Table("", *(Column(name, justify="right") for name in COUNTS))
    for name, counts in (("documents", report.documents), ("chunks", report.chunks)):
        table.add_row(name, *(f"{getattr(counts, column):,}" for column in COUNTS))
    out.print(table)
    facts = [f"{report.seconds:.1f} s ({report.seconds_encoding:.1f} s encoding, {report.seconds_uploading:.1f} s writing)"]
    facts += [f"{report.retries:,} calls tried again"] if report.retries else []
    facts += [f"{report.truncated:,} chunks cut at the model's context"] if report.truncated else []
    out.print(Text(", ".join(facts)), soft_wrap=True)
    print_failures(report.failed)
