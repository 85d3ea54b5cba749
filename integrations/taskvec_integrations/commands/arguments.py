"""Options that several commands have, with their help and defaults. Imports nothing that takes long."""

from typing import Annotated, Literal

import typer

DEFAULT_MODEL = "jinaai/jina-embeddings-v3-hf"  # taskvec.hub has it too, and takes long to import
CHUNK_TOKENS = 512
SMALLEST = 8  # as in chunking.py
RETRY_SECONDS = 300.0
TaskName = Literal["retrieval.query", "retrieval.passage", "separation", "classification", "text-matching", "none"]
PrecisionName = Literal["float32", "float16", "int8", "uint8", "binary", "ubinary", "base64"]


def _check_chunk(tokens: int) -> int:
    if tokens and tokens < SMALLEST:
        raise typer.BadParameter(f"{tokens} is too few: use {SMALLEST} or more, or 0 to keep texts whole")
    return tokens


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
