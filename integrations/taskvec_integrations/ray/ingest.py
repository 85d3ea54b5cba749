"""ingest_dataset: puts sources, a pool of actors and a store together, adds the parts' reports up. Knows no database."""

import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import ray
from ray.data import ActorPoolStrategy, Dataset
from ray.exceptions import RayError, RayTaskError

from taskvec.integration import DEFAULT_MODEL, LoadSettings, Progress, check_progress, reporting
from taskvec_integrations.files.sources import Columns
from taskvec_integrations.ingestion.chunking import check_chunk_tokens
from taskvec_integrations.ingestion.report import IngestReport
from taskvec_integrations.ingestion.retries import check_seconds
from taskvec_integrations.ray.embed import LoadOptions, check_dimensions
from taskvec_integrations.ray.parts import OUTCOME, IngestPart, Opening, Outcome, Reader, portable
from taskvec_integrations.ray.pool import Concurrency, Pool, plan_pool
from taskvec_integrations.ray.sources import open_dataset
from taskvec_integrations.ray.tally import Tally
from taskvec_integrations.ray.writer import WriterBackend, start_writer
from taskvec_integrations.store import CHUNK_TOKENS, RETRY_SECONDS, StoreOptions
from taskvec_integrations.store_url import StoreURL
from taskvec_integrations.task_choice import EmbedSettings, TaskChoice

PART = 512
"""Documents that an actor takes at once."""


def ingest_dataset(
    dataset: Any,
    store_url: str | StoreURL,
    *,
    collection: str,
    model: str | Path = DEFAULT_MODEL,
    dimensions: int | None = None,
    late_chunking: bool = False,
    document_task: TaskChoice = "auto",
    chunk_tokens: int | None = CHUNK_TOKENS,
    text_column: str = "text",
    id_column: str | None = None,
    payload_columns: Sequence[str] | None = None,
    part_documents: int = PART,
    concurrency: Concurrency = None,
    num_gpus: float | None = None,
    num_cpus: float | None = None,
    retry_seconds: float = RETRY_SECONDS,
    progress: Progress = False,
    report: IngestReport | None = None,
    **load: Unpack[LoadOptions],
) -> IngestReport:
    """`Store.ingest` on all of a Ray cluster: the same collection with the same points, made by many actors.

        ingest_dataset(ray.data.read_parquet("s3://bucket/docs"), "qdrant://db:6333", collection="docs", num_gpus=1)

    dataset: a Ray or Hugging Face Dataset, or paths of files and folders as `taskvec ingest` takes them, which only the caller's
    machine needs to have. A row is a document: text_column holds its text, or a list of its chunks; id_column, "id" where
    there is one, its id; all other columns, or payload_columns, are its payload, without those that are null.

    Ray hands parts of part_documents to actors, and each writes its own; an embedded store is written by one actor on the
    caller's machine. concurrency: actors, by default one for each GPU or, where there is none, each machine; (least, most) on
    a cluster that grows. num_gpus, num_cpus: of each. The other arguments are those of `Store` and `Encoder.from_pretrained`;
    keys are read from the environment of the actors. progress: True for Ray's own bars, or a function of (documents done, in all
    or None). report: a new one to fill while the run goes on.

    A lost actor costs what it had under way, and another takes its part. A second run writes nothing, one that was cut short goes
    on. ids must be unique: of two documents with one id in different parts, either or a mixture of both may be what stays, and a
    warning says how many there were.
    """
    columns = Columns(text_column, id_column, payload_columns)
    settings = EmbedSettings(document_task, "auto", check_dimensions(dimensions), late_chunking)
    loaded = LoadSettings(model, **load)  # with the path of a folder made absolute
    options: StoreOptions = {
        "dimensions": settings.dimensions,
        "late_chunking": settings.late_chunking,
        "document_task": settings.document_task,
        "chunk_tokens": check_chunk_tokens(chunk_tokens),
        "retry_seconds": check_seconds(retry_seconds),
    }
    url = StoreURL.parse(store_url) if isinstance(store_url, str) else store_url
    check_progress(progress)
    rows, read, total = open_dataset(dataset, columns)
    pool = plan_pool(concurrency, num_cpus, num_gpus)
    opening = Opening(url, collection, str(loaded.model), load, pool.threads, options)
    parts = rows.repartition(target_num_rows_per_block=check_part(part_documents))
    run = Tally(collection, IngestReport() if report is None else report)
    with owned(opening) as opening, run.closing(), reporting(progress is not True and progress, total) as tell:
        try:
            for outcome in outcomes(parts, pool, opening, read, bars=progress is True):
                run.add(outcome)
                tell(run.report.documents.done, total)
        except BaseException:
            with suppress(Exception):
                finish(opening, run.report)
            raise
        finish(opening, run.report)
    return run.report


def finish(opening: Opening, report: IngestReport) -> None:
    """What comes after the last part, where any has changed anything."""
    if report.changed:
        opening.finish()


def outcomes(parts: Dataset, pool: Pool, opening: Opening, read: Reader, bars: bool) -> Iterator[Outcome]:
    """What became of each block of `parts`, as they are done; closing this ends the work."""
    done = parts.map_batches(
        IngestPart,
        fn_constructor_args=(opening, read),
        compute=ActorPoolStrategy(min_size=pool.least, max_size=pool.most),
        num_cpus=pool.num_cpus,
        num_gpus=pool.num_gpus or None,
        batch_size=None,
        batch_format="pyarrow",
    )
    done.context.enable_progress_bars = bars
    try:
        for row in done.iter_rows():
            yield pickle.loads(row[OUTCOME])
    except RayTaskError as error:  # its own text is a page of Ray's inside
        raise portable(error.cause) from None


@contextmanager
def owned(opening: Opening) -> Iterator[Opening]:
    """The opening with a writer that has an embedded store open, which is closed at the end; others are as they were."""
    if not opening.url.embedded:
        yield opening
        return
    writer = start_writer(opening.url, opening.collection)
    try:
        WriterBackend(writer)  # an error if it could not open the store
        yield replace(opening, writer=writer)
    finally:
        with suppress(RayError):
            ray.get(writer.close.remote())
        ray.kill(writer)


def check_part(documents: int) -> int:
    """A whole number from 1."""
    if not isinstance(documents, int) or isinstance(documents, bool) or documents < 1:
        raise ValueError(f"part_documents is {documents!r}: a whole number of 1 or more was expected")
    return documents
