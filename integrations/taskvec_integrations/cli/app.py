"""The command line: how each command is called. Heavy imports wait until a command runs, so that help is quick.

What a command does stands in the module of its name beside this one; how `serve` is called stands in serve.py, too.
"""

import importlib.metadata
import os
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from taskvec import DEFAULT_MODEL, MINI, Task
from taskvec_integrations.cli import arguments as arg
from taskvec_integrations.cli.console import EXIT_DONE, EXIT_FAILURES, print_failures, show_warnings
from taskvec_integrations.cli.serve import serve
from taskvec_integrations.defaults import CHUNK_TOKENS, RETRY_SECONDS
from taskvec_integrations.extras import STORE, require

if TYPE_CHECKING:
    from taskvec_integrations.lazy_encoder import LazyEncoder
    from taskvec_integrations.store_url import StoreURL

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="jina-embeddings-v3 on your own hardware, native in vector stores and frameworks. Start with: taskvec demo",
)


def _print_version(requested: bool) -> None:
    if requested:
        print(f"taskvec {importlib.metadata.version('taskvec')}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")]


@app.callback()
def _options(version: Version = False) -> None:
    """Options that come before a command."""


@app.command()
def demo(
    question: Annotated[str | None, typer.Argument(help="Ask this; without it, a tour with questions of its own.")] = None,
    model: arg.Model = MINI,
    folder: Annotated[Path | None, typer.Option(help="Where the index is kept (default: the user's cache folder).")] = None,
) -> None:
    """Ask Python's language reference, indexed with late chunking in an embedded Qdrant."""
    from taskvec_integrations.demo import tour

    tour.run(question, model, folder or tour.default_folder(), Console())


app.command()(serve)


@app.command()
def ingest(
    sources: arg.Sources,
    to: arg.To,
    collection: arg.Collection,
    model: arg.Model = DEFAULT_MODEL,
    dimensions: arg.Dimensions = None,
    late_chunking: arg.LateChunking = False,
    chunk: arg.Chunk = CHUNK_TOKENS,
    text_column: arg.TextColumn = "text",
    id_column: arg.IdColumn = None,
    payload_columns: arg.PayloadColumns = None,
    dry_run: arg.DryRun = False,
    retry: arg.Retry = RETRY_SECONDS,
    ray: arg.Ray = None,
    device: arg.Device = None,
    dtype: arg.Dtype = None,
) -> None:
    """Put documents into a vector database, as chunks with their vectors.

    Running it again writes only what changed, and a run that was interrupted goes on. What is no longer in the source stays in
    the collection. Other columns become the payload. The id of a text file is its path, in a folder from the folder's name on.
    Documents that cannot be used are named at the end; the others are written. A database that cannot be reached at the start is
    an error at once. API keys are read from QDRANT_API_KEY, MILVUS_TOKEN and PINECONE_API_KEY.

    Exit codes: 0 all done, 1 an error ended it, 2 wrong usage, 3 done except for documents that failed, 130 interrupted.

    Example: taskvec ingest notes/ --to qdrant://./index --collection notes --model mini --late-chunking
    """
    url = _store_url(to)
    from taskvec_integrations.cli import ingest as command
    from taskvec_integrations.files.sources import Columns, FileSource

    payload = None if payload_columns is None else [name for name in payload_columns.split(",") if name]
    columns = Columns(text_column, id_column, payload)
    encoder = _lazy_encoder(model, device, dtype)
    target = command.IngestTarget(url, collection, encoder, dimensions, late_chunking, chunk or None, retry, ray)
    raise typer.Exit(command.run(FileSource.open(sources, columns), target, dry_run, Console()))


@app.command()
def search(
    question: arg.Question,
    url: arg.From,
    collection: arg.Collection,
    limit: arg.Limit = 5,
    model: arg.Model = DEFAULT_MODEL,
    dimensions: arg.Dimensions = None,
    as_json: arg.AsJson = False,
    device: arg.Device = None,
    dtype: arg.Dtype = None,
) -> None:
    """Search a collection for a question; model and dimensions as when it was filled.

    Example: taskvec search "who feeds the cat?" --from qdrant://./index --collection notes --model mini
    """
    store_url = _store_url(url)
    from taskvec_integrations.cli import search as command

    command.run(question, store_url, collection, _lazy_encoder(model, device, dtype), dimensions, limit, as_json, Console())


@app.command()
def embed(
    texts: arg.Texts = None,
    sources: arg.Inputs = None,
    output: arg.Output = None,
    task: arg.ForTask = "text-matching",
    dimensions: arg.Dimensions = None,
    late_chunking: arg.LateChunking = False,
    chunk: arg.Chunk = 0,
    precision: arg.VectorPrecision = "float32",
    ranges: arg.Ranges = None,
    lines: arg.Lines = False,
    text_column: arg.TextColumn = "text",
    id_column: arg.IdColumn = None,
    model: arg.Model = DEFAULT_MODEL,
    device: arg.Device = None,
    dtype: arg.Dtype = None,
) -> None:
    """Vectors of texts, or of files and streams of any size.

    JSON lines and Parquet have id, chunk, text and embedding; npy has the vectors in input order. A column with lists of texts
    holds documents in chunks, which --late-chunking encodes together. With --late-chunking the TEXTs are the chunks of one
    document. Exit codes are those of ingest.

    Examples:

    taskvec embed "who feeds the cat?" --task retrieval.query --model mini

    taskvec embed --input docs.jsonl --output docs.npy --task retrieval.passage --model mini
    """
    from taskvec_integrations.cli import embed as command
    from taskvec_integrations.files.sources import Columns, FileSource

    if bool(texts) == bool(sources):
        raise typer.BadParameter("give either texts or --input")
    options = command.EmbedCommandOptions(
        task=None if task == arg.NO_TASK else Task(task),
        dimensions=dimensions,
        late_chunking=late_chunking,
        chunk_tokens=chunk or None,
        precision=precision,
        ranges=ranges,
        output=output,
    )
    columns = Columns(text_column, id_column, (), number_ids=True, split_lines=lines)
    source = FileSource.open(sources, columns) if sources else None
    documents = source or command.documents_from_texts(texts or [], late_chunking)
    failures = command.run(documents, source.total if source else None, _lazy_encoder(model, device, dtype), options)
    print_failures(failures)
    raise typer.Exit(EXIT_FAILURES if failures else EXIT_DONE)


@app.command()
def models() -> None:
    """List the models: size, license, dimensions, context, and whether they are on this machine."""
    from taskvec_integrations.cli import models as command

    command.run(Console())


@app.command()
def doctor(model: arg.Model = MINI, device: arg.Device = None, dtype: arg.Dtype = None) -> None:
    """Check this machine: versions, why this device and dtype, whether the model works, how fast it is, and what to do.

    With the real weights it compares vectors with the published ones: taskvec doctor --model jinaai/jina-embeddings-v3-hf
    The exit code is 1 if something is broken.
    """
    from taskvec_integrations.cli import doctor as command

    works = command.run(_lazy_encoder(model, device, dtype), device, dtype, Console())
    raise typer.Exit(0 if works else 1)


@app.command()
def bench(
    model: arg.Model = DEFAULT_MODEL,
    seconds: arg.Seconds = 3.0,
    as_json: arg.AsJson = False,
    device: arg.Device = None,
    dtype: arg.Dtype = None,
) -> None:
    """Measure a model on this machine: one query, many, passages, long documents, late chunking.

    Example: taskvec bench --model mini --seconds 1
    """
    from taskvec_integrations.cli import bench as command

    command.run(_lazy_encoder(model, device, dtype), seconds, as_json, Console())


def _store_url(url: str) -> "StoreURL":
    kind = url.partition(":")[0].partition("+")[0]
    for module in STORE:
        require(module, kind if kind in ("qdrant", "milvus", "pinecone") else "store")
    from taskvec_integrations.store_url import StoreURL

    return StoreURL.parse(url)


def _lazy_encoder(model: str, device: str | None, dtype: str | None) -> "LazyEncoder":
    from taskvec_integrations.lazy_encoder import LazyEncoder

    return LazyEncoder(model, {"device": device, "dtype": dtype})


def main() -> None:
    """Run a command; an expected failure is one sentence on stderr and exit code 1."""
    show_warnings()
    try:
        app()
    except BrokenPipeError:  # the reader of the output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (OSError, ValueError, TypeError, LookupError, ImportError, RuntimeError, MemoryError, sqlite3.Error) as error:
        if os.environ.get("TASKVEC_TRACEBACK"):
            raise
        print(f"taskvec: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        sys.exit(1)
