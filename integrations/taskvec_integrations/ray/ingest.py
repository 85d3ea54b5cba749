"""ingest_dataset: puts a dataset, a pool of actors and a store together, and adds up the parts' reports. Knows no database."""

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
from taskvec_integrations.defaults import CHUNK_TOKENS, RETRY_SECONDS
from taskvec_integrations.files.sources import Columns
from taskvec_integrations.ingestion.chunking import check_chunk_tokens
from taskvec_integrations.ingestion.report import IngestReport
from taskvec_integrations.ingestion.retries import check_seconds
from taskvec_integrations.ray.embed import LoadOptions, check_dimensions
from taskvec_integrations.ray.part_recorder import PartRecorder
from taskvec_integrations.ray.parts import RESULT_COLUMN, IngestPart, PartResult, Reader, StoreConfig, make_portable
from taskvec_integrations.ray.pool import ActorPool, Concurrency, size_pool
from taskvec_integrations.ray.sources import open_dataset
from taskvec_integrations.ray.writer import RemoteBackend, start_writer
from taskvec_integrations.store import StoreOptions
from taskvec_integrations.store_url import StoreURL
from taskvec_integrations.task_choice import EmbedSettings, TaskChoice

PART_DOCUMENTS = 512
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
    part_documents: int = PART_DOCUMENTS,
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

    A row is a document. Ray hands parts of the dataset to actors, and each writes its own points; an embedded store is written by
    one actor on the caller's machine. An actor that is lost costs what it had under way, and another takes its part. A second run
    writes nothing, and one that was cut short goes on. Ids must be unique: of two documents with one id in different parts,
    either or a mixture of both may be what stays, and a warning says how many there were.

    Args:
        dataset: A Ray or Hugging Face Dataset, or paths of files and folders as `taskvec ingest` takes them, which only the
            caller's machine needs to have.
        store_url: The database, see `StoreURL`; keys are read from the environment of the actors.
        collection: The collection, in Pinecone the namespace.
        model: A hub id, a folder or "mini".
        dimensions: The length of a vector; None is the model's full width.
        late_chunking: Whether the chunks of a document share its context.
        document_task: Another task than retrieval.passage, None for the bare model.
        chunk_tokens: Texts without chunks of their own are split at this many tokens; None never splits.
        text_column: The column with the text, or with a list of texts, a document's chunks.
        id_column: The column that identifies a document; None takes "id" where there is one.
        payload_columns: The columns stored with each chunk; None takes all others. Null values are left out.
        part_documents: Documents that an actor takes at once.
        concurrency: How many actors, (least, most) on a cluster that grows; None is one for each GPU or, where there is none,
            for each machine.
        num_gpus: GPUs of each actor.
        num_cpus: CPUs of each actor.
        retry_seconds: How long a call that may succeed later is tried again.
        progress: True for Ray's own bars, or a function of (documents done, documents in all or None).
        report: A new IngestReport to fill, which can be read while the run goes on.
        **load: How the model is loaded, as `Encoder.from_pretrained` takes it.

    Returns:
        What was done.

    Raises:
        TypeError: An argument is of another type.
        ValueError: An argument cannot be used, or the collection was made with other settings.
        OSError: A file cannot be read, or the database cannot be reached.
    """
    columns = Columns(text_column, id_column, payload_columns)
    settings = EmbedSettings(document_task, "auto", check_dimensions(dimensions), late_chunking)
    loaded = LoadSettings(model, **load)  # makes the path of a folder absolute
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
    pool = size_pool(concurrency, num_cpus, num_gpus)
    config = StoreConfig(url, collection, str(loaded.model), load, pool.threads, options)
    parts = rows.repartition(target_num_rows_per_block=check_part_documents(part_documents))
    recorder = PartRecorder(collection, IngestReport() if report is None else report)
    with with_writer(config) as config, recorder.timing():
        ingest_parts(parts, read, pool, config, recorder, progress, total)
    return recorder.report


def ingest_parts(
    parts: Dataset,
    read: Reader,
    pool: ActorPool,
    config: StoreConfig,
    recorder: PartRecorder,
    progress: Progress,
    total: int | None,
) -> None:
    """Have a pool of actors ingest all parts, record their results, and finish the collection, also after an error."""
    with reporting(progress is not True and progress, total) as report_progress:
        try:
            for result in part_results(parts, read, pool, config, bars=progress is True):
                recorder.record(result)
                report_progress(recorder.report.documents.done, total)
        except BaseException:
            with suppress(Exception):
                finish(config, recorder.report)
            raise
        finish(config, recorder.report)


def finish(config: StoreConfig, report: IngestReport) -> None:
    """Do what comes after the last part, where any part has changed anything."""
    if report.changed:
        config.finish()


def part_results(parts: Dataset, read: Reader, pool: ActorPool, config: StoreConfig, bars: bool) -> Iterator[PartResult]:
    """Start the work; yields the result of each block of `parts` when it is done. Closing the iterator ends the work."""
    results = parts.map_batches(
        IngestPart,
        fn_constructor_args=(config, read),
        compute=ActorPoolStrategy(min_size=pool.min_size, max_size=pool.max_size),
        num_cpus=pool.num_cpus,
        num_gpus=pool.num_gpus or None,
        batch_size=None,
        batch_format="pyarrow",
    )
    results.context.enable_progress_bars = bars
    try:
        for row in results.iter_rows():
            yield pickle.loads(row[RESULT_COLUMN])
    except RayTaskError as error:  # its text is a page of Ray's inside
        raise make_portable(error.cause) from None


@contextmanager
def with_writer(config: StoreConfig) -> Iterator[StoreConfig]:
    """Run a StoreWriter while the block runs, where the store is embedded; yields the config that goes through it."""
    if not config.url.embedded:
        yield config
        return
    writer = start_writer(config.url, config.collection)
    try:
        RemoteBackend(writer)  # raises what went wrong when the store was opened
        yield replace(config, writer=writer)
    finally:
        with suppress(RayError):
            ray.get(writer.close.remote())
        ray.kill(writer)


def check_part_documents(documents: int) -> int:
    """A whole number from 1; anything else is a ValueError."""
    if not isinstance(documents, int) or isinstance(documents, bool) or documents < 1:
        raise ValueError(f"part_documents is {documents!r}: a whole number of 1 or more was expected")
    return documents
