"""The command line: how each command is called. Heavy imports wait until a command runs, so that help is quick.

What commands do is in the package commands, one module each.
"""

import importlib.metadata
import os
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from taskvec.tasks import Task
from taskvec_integrations.commands.console import DONE, FAILED, show_failures, show_warnings
from taskvec_integrations.extras import require

if TYPE_CHECKING:
    from taskvec_integrations.options import LazyEncoder
    from taskvec_integrations.store_url import StoreURL

DEFAULT_MODEL = "jinaai/jina-embeddings-v3-hf"  # taskvec.hub has it too, and takes long to import
CHUNK_TOKENS = 512
SMALLEST = 8  # as in chunking.py
RETRY_SECONDS = 300.0
TaskName = Literal["retrieval.query", "retrieval.passage", "separation", "classification", "text-matching", "none"]
PrecisionName = Literal["float32", "float16", "int8", "uint8", "binary", "ubinary", "base64"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="jina-embeddings-v3 on your own hardware, native in vector stores and frameworks. Start with: taskvec demo",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"taskvec {importlib.metadata.version('taskvec')}")
        raise typer.Exit


def _check_chunk(tokens: int) -> int:
    if tokens and tokens < SMALLEST:
        raise typer.BadParameter(f"{tokens} is too few: use {SMALLEST} or more, or 0 to keep texts whole")
    return tokens


Version = Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")]
Model = Annotated[str, typer.Option(help="A hub id, a folder, or mini, the small English model that comes along.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; the best there is unless given.")]
Dtype = Annotated[str | None, typer.Option(help="float32, bfloat16, float16, int8 (CPU); the fastest faithful one unless given.")]
Dimensions = Annotated[int | None, typer.Option(help="Length of a vector; the model's full width unless given.")]
LateChunking = Annotated[
    bool, typer.Option("--late-chunking", help="Encode a document as a whole, so that its chunks know their context.")
]
Chunk = Annotated[
    int, typer.Option(metavar="TOKENS", callback=_check_chunk, help="Split texts longer than this; 0 keeps them whole.")
]
TextColumn = Annotated[str, typer.Option(help="The column with the text, or with a list of texts, a document's chunks.")]
IdColumn = Annotated[
    str | None, typer.Option(help="The column that identifies a document; id where there is one, else an id is made of the text.")
]
Collection = Annotated[str, typer.Option(help="The collection (in Pinecone the namespace).")]
STORE_URL = (
    "qdrant://./FOLDER, qdrant://HOST:6333, qdrant+https://HOST, milvus://./FILE.db, milvus://HOST:19530, pinecone://INDEX."
)


@app.callback()
def _options(version: Version = False) -> None:
    """Options that come before a command."""


@app.command()
def demo(
    question: Annotated[str | None, typer.Argument(help="Ask this; without it, a tour with questions of its own.")] = None,
    model: Model = "mini",
    folder: Annotated[Path | None, typer.Option(help="Where the index is kept (default: the user's cache folder).")] = None,
) -> None:
    """Ask Python's language reference, indexed with late chunking in an embedded Qdrant."""
    from taskvec_integrations import demo as tour

    tour.run(question, model, folder or tour.default_folder(), Console())


@app.command()
def ingest(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Folders of .txt and .md, files (.jsonl .csv .tsv .parquet .txt .md), or - for JSON lines on stdin.",
        ),
    ],
    to: Annotated[str, typer.Option(metavar="URL", help=STORE_URL)],
    collection: Collection,
    model: Model = DEFAULT_MODEL,
    dimensions: Dimensions = None,
    late_chunking: LateChunking = False,
    chunk: Chunk = CHUNK_TOKENS,
    text_column: TextColumn = "text",
    id_column: IdColumn = None,
    payload_columns: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Columns stored with each chunk, separated by commas; all others unless given."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and split all, say what would be done; touch no database.")
    ] = False,
    retry: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long to try again when a database fails in the middle.")
    ] = RETRY_SECONDS,
    ray: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Work on a Ray cluster: its address, auto or local.")] = None,
    device: Device = None,
    dtype: Dtype = None,
) -> None:
    """Put documents into a vector database, as chunks with their vectors.

    Running it again writes only what changed; a run that was interrupted goes on. Other columns become the payload, the id of
    a text file is its path. Documents that cannot be used are named at the end, the others land. A database that cannot be
    reached at the start is an error at once; API keys are read from QDRANT_API_KEY, MILVUS_TOKEN and PINECONE_API_KEY.

    Exit codes: 0 all done, 1 an error ended it, 2 wrong usage, 3 done but for documents that failed, 130 interrupted.

    Example: taskvec ingest notes/ --to qdrant://./index --collection notes --model mini --late-chunking
    """
    url = _store_url(to)
    from taskvec_integrations.commands import ingest as command
    from taskvec_integrations.commands.sources import Columns, Source

    payload = None if payload_columns is None else [name for name in payload_columns.split(",") if name]
    columns = Columns(text_column, id_column, payload)
    encoder = _lazy(model, device, dtype)
    target = command.Target(url, collection, encoder, dimensions, late_chunking, chunk or None, retry, ray)
    raise typer.Exit(command.run(Source.open(sources, columns), target, dry_run, Console()))


@app.command()
def search(
    question: Annotated[str, typer.Argument(help="What you want to know.")],
    url: Annotated[str, typer.Option("--from", metavar="URL", help=STORE_URL)],
    collection: Collection,
    limit: Annotated[int, typer.Option(min=1, help="How many chunks.")] = 5,
    model: Model = DEFAULT_MODEL,
    dimensions: Dimensions = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with the whole text.")] = False,
    device: Device = None,
    dtype: Dtype = None,
) -> None:
    """Search a collection for a question; model and dimensions as when it was filled.

    Example: taskvec search "who feeds the cat?" --from qdrant://./index --collection notes --model mini
    """
    where = _store_url(url)
    from taskvec_integrations.commands import search as command

    command.run(question, where, collection, _lazy(model, device, dtype), dimensions, limit, as_json, Console())


@app.command()
def embed(
    texts: Annotated[list[str] | None, typer.Argument(metavar="TEXT", help="Texts; or give --input.")] = None,
    sources: Annotated[
        list[str] | None, typer.Option("--input", metavar="SOURCE", help="A file or folder as ingest reads it, or - for stdin.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="A file .npy, .jsonl or .parquet; JSON lines on stdout unless given.", dir_okay=False)
    ] = None,
    task: Annotated[TaskName, typer.Option(help="What the vectors are for; none is the bare model.")] = "text-matching",
    dimensions: Dimensions = None,
    late_chunking: LateChunking = False,
    chunk: Chunk = 0,
    precision: Annotated[PrecisionName, typer.Option(help="What the numbers of a vector are.")] = "float32",
    ranges: Annotated[
        Path | None,
        typer.Option(help="For int8 and uint8: a .npy with the ranges, made of the first vectors where there is none."),
    ] = None,
    lines: Annotated[bool, typer.Option("--lines", help="Each line of a text file or of stdin is a text of its own.")] = False,
    text_column: TextColumn = "text",
    id_column: IdColumn = None,
    model: Model = DEFAULT_MODEL,
    device: Device = None,
    dtype: Dtype = None,
) -> None:
    """Vectors of texts, or of files and streams of any size.

    JSON lines and Parquet have id, chunk, text and embedding; npy has the vectors in input order. A column with lists of texts
    holds documents in chunks, which --late-chunking encodes together; so it does with the TEXTs, as the chunks of one document.
    Exit codes as for ingest.

    Examples:

    taskvec embed "who feeds the cat?" --task retrieval.query --model mini

    taskvec embed --input docs.jsonl --output docs.npy --task retrieval.passage --model mini
    """
    from taskvec_integrations.commands import embed as command
    from taskvec_integrations.commands.sources import Columns, Source

    if bool(texts) == bool(sources):
        raise typer.BadParameter("give texts or --input, one of them")
    chosen = None if task == "none" else Task(task)
    wanted = command.Wanted(chosen, dimensions, late_chunking, chunk or None, precision, ranges, output)
    source = Source.open(sources, Columns(text_column, id_column, (), numbers=True, lines=lines)) if sources else None
    documents = source or command.documents_of(texts or [], late_chunking)
    failed = command.run(documents, source.total if source else None, _lazy(model, device, dtype), wanted)
    show_failures(failed)
    raise typer.Exit(FAILED if failed else DONE)


@app.command()
def models() -> None:
    """Which models there are: size, licence, dimensions, context, and whether they are on this machine."""
    from taskvec_integrations.commands import models as command

    command.run(Console())


@app.command()
def doctor(model: Model = "mini", device: Device = None, dtype: Dtype = None) -> None:
    """Check this machine: versions, device and dtype and why, whether the model works, how fast it is, and what to do.

    With the real weights it compares vectors with the published ones: taskvec doctor --model jinaai/jina-embeddings-v3-hf
    Exit code 1 if something is broken.
    """
    from taskvec_integrations.commands import doctor as command

    whole = command.run(_lazy(model, device, dtype), device, dtype, Console())
    raise typer.Exit(0 if whole else 1)


def _store_url(url: str) -> "StoreURL":
    kind = url.partition(":")[0].partition("+")[0]
    for module in ("semchunk", "tenacity"):
        require(module, kind if kind in ("qdrant", "milvus", "pinecone") else "store")
    from taskvec_integrations.store_url import StoreURL

    return StoreURL.parse(url)


def _lazy(model: str, device: str | None, dtype: str | None) -> "LazyEncoder":
    from taskvec_integrations.options import LazyEncoder

    return LazyEncoder(model, {"device": device, "dtype": dtype})


def main() -> None:
    """Run a command; an expected failure is one sentence on stderr and exit code 1."""
    show_warnings()
    try:
        app()
    except BrokenPipeError:  # whoever read the output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (OSError, ValueError, TypeError, LookupError, ImportError, RuntimeError, MemoryError, sqlite3.Error) as error:
        if os.environ.get("TASKVEC_TRACEBACK"):
            raise
        print(f"taskvec: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
