"""Options that several commands have, with their help and defaults. Imports nothing that takes long."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from taskvec import Precision, Task
from taskvec_integrations.defaults import MIN_CHUNK_TOKENS

NO_TASK = "none"
"""What the bare model is called where the name of a task is expected."""

if TYPE_CHECKING:
    TaskName = str
else:  # typer lists the values of a Literal in the help, in errors and to the shell
    TaskName = Literal[(*(task.value for task in Task), NO_TASK)]


def _check_chunk_tokens(tokens: int) -> int:
    if tokens and tokens < MIN_CHUNK_TOKENS:
        raise typer.BadParameter(f"{tokens} is too few: use {MIN_CHUNK_TOKENS} or more, or 0 to keep texts whole")
    return tokens


Model = Annotated[str, typer.Option(help="A hub id, a folder, or mini, the small English model that comes with taskvec.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 or mps; by default the best that this machine has.")]
Dtype = Annotated[
    str | None, typer.Option(help="float32, bfloat16, float16 or int8 (CPU); by default the fastest that keeps the vectors.")
]
Dimensions = Annotated[int | None, typer.Option(help="Length of a vector; by default the model's full width.")]
LateChunking = Annotated[
    bool, typer.Option("--late-chunking", help="Encode a document as a whole, so that its chunks know their context.")
]
Chunk = Annotated[
    int, typer.Option(metavar="TOKENS", callback=_check_chunk_tokens, help="Split texts longer than this; 0 keeps them whole.")
]
TextColumn = Annotated[str, typer.Option(help="The column with the text, or with a list of texts, a document's chunks.")]
IdColumn = Annotated[
    str | None,
    typer.Option(
        help="The column that identifies a document; by default id, and without such a column an id is made of the text."
    ),
]
Collection = Annotated[str, typer.Option(help="The collection (in Pinecone the namespace).")]
STORE_URL = (
    "qdrant://./FOLDER, qdrant://HOST:6333, qdrant+https://HOST, milvus://./FILE.db, milvus://HOST:19530, pinecone://INDEX."
)
Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE",
        help="Folders of .txt and .md, files (.jsonl .csv .tsv .parquet .txt .md), or - for JSON lines on stdin.",
    ),
]
To = Annotated[str, typer.Option(metavar="URL", help=STORE_URL)]
PayloadColumns = Annotated[
    str | None,
    typer.Option(metavar="NAMES", help="Columns stored with each chunk, separated by commas; by default all others."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Read and split everything, say what would be done, and touch no database.")
]
Retry = Annotated[float, typer.Option(metavar="SECONDS", help="How long to try again when a database fails in the middle.")]
Ray = Annotated[str | None, typer.Option(metavar="ADDRESS", help="Work on a Ray cluster: its address, auto or local.")]
Seconds = Annotated[float, typer.Option(min=0.0, help="How long each row is measured, at least one call.")]
Question = Annotated[str, typer.Argument(help="What you want to know.")]
From = Annotated[str, typer.Option("--from", metavar="URL", help=STORE_URL)]
Limit = Annotated[int, typer.Option(min=1, help="How many chunks.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line, with all there is.")]
Texts = Annotated[list[str] | None, typer.Argument(metavar="TEXT", help="Texts; or give --input.")]
Inputs = Annotated[
    list[str] | None, typer.Option("--input", metavar="SOURCE", help="A file or folder as ingest reads it, or - for stdin.")
]
Output = Annotated[
    Path | None, typer.Option(help="A file .npy, .jsonl or .parquet; by default JSON lines on stdout.", dir_okay=False)
]
ForTask = Annotated[TaskName, typer.Option(help="What the vectors are for; none is the bare model.")]
VectorPrecision = Annotated[Precision, typer.Option(help="What the numbers of a vector are.")]
Ranges = Annotated[
    Path | None,
    typer.Option(help="For int8 and uint8: a .npy with the ranges, made of the first vectors if it does not exist."),
]
Lines = Annotated[bool, typer.Option("--lines", help="Each line of a text file or of stdin is a text of its own.")]
