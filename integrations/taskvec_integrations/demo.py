"""The demo: Python's language reference in an embedded Qdrant, and what tasks, dimensions and late chunking change there."""

import contextlib
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Column, Table
from rich.text import Text

from taskvec import Encoder
from taskvec.hub import DEFAULT_MODEL, MINI
from taskvec_integrations.demo_text import QUESTIONS, Chunk, answers, read_sections
from taskvec_integrations.extras import require

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

Vectors = NDArray[np.float32]

COLLECTION = "python_reference"
SHOWN = 4

NEXT = """
[bold]What next[/bold]
  {again}
      asks this index again; it stays in {folder}
  {real}
      the same with the real model: 1024 dimensions, some 90 languages (a download of 1.1 GB, weights CC BY-NC 4.0)
  Encoder.from_pretrained() in Python is the real model, Encoder.from_pretrained("mini") this one"""


class IndexInUseError(RuntimeError):
    """Another process holds the demo's index: an embedded Qdrant belongs to one process at a time."""


def default_folder() -> Path:
    """Where the index is kept between runs."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "taskvec" / "demo"


def run(question: str | None, model: str, folder: Path, console: Console, sections: list[list[Chunk]] | None = None) -> None:
    """Index the reference unless that was done, then answer one question, or show a few and the comparison."""
    require("qdrant_client", "qdrant")
    start = time.perf_counter()
    with Encoder.from_pretrained(model) as encoder:
        console.print(f"{encoder.model_id} loaded in {time.perf_counter() - start:.1f} s on {encoder.device} ({encoder.dtype})")
        sections = sections or read_sections()
        with contextlib.closing(open_index(encoder, sections, folder, console)) as client:
            if question is not None:
                show_answers(client, encoder, question, 3, console)
                return
            for known in list(QUESTIONS)[:SHOWN]:
                show_answers(client, encoder, known, 1, console)
            compare(client, encoder, sections, console)
    if model == MINI:
        command = f"{sys.argv[0]} demo" + (f" --folder {folder}" if folder != default_folder() else "")
        real = f"{command} --model {DEFAULT_MODEL}"
        console.print(NEXT.format(again=f'{command} "your question"', real=real, folder=folder), soft_wrap=True, highlight=False)


def open_index(encoder: Encoder, sections: list[list[Chunk]], folder: Path, console: Console) -> "QdrantClient":
    """The index of this model and this text, built where it is missing.

    It gets its name when it is complete, so one that was cut short is never used, and two first runs do not disturb each other.
    """
    from qdrant_client import QdrantClient

    path = folder / hashlib.sha256(repr((encoder.fingerprint, sections)).encode()).hexdigest()[:16]
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix="partial-", ignore_cleanup_errors=True) as partial:
            build(encoder, sections, Path(partial) / "index", console)
            if not path.exists():
                (Path(partial) / "index").rename(path)
    try:
        client = QdrantClient(path=str(path))
    except RuntimeError as error:
        if "already accessed" not in str(error):
            raise
        raise IndexInUseError(f"another process uses the index in {path}: wait for it, or pass another --folder") from None
    if not client.collection_exists(COLLECTION) or client.count(COLLECTION).count != sum(map(len, sections)):
        client.close()
        raise RuntimeError(f"the index in {path} is damaged: delete that folder and run the demo again")
    return client


def build(encoder: Encoder, sections: list[list[Chunk]], path: Path, console: Console) -> None:
    """Encode every section with late chunking (the passage adapter) and store its chunks."""
    from qdrant_client import QdrantClient
    from qdrant_client.models import Distance, PointStruct, VectorParams

    chunks = list(chain.from_iterable(sections))
    path.mkdir()
    console.print(f"Indexing Python's language reference: {len(sections)} sections, {len(chunks)} chunks, late chunking on")
    vectors = late_vectors(encoder, sections)
    client = QdrantClient(path=str(path))
    try:
        client.create_collection(COLLECTION, VectorParams(size=encoder.dimensions, distance=Distance.COSINE))
        points = zip(chunks, vectors.tolist(), strict=True)
        client.upsert(COLLECTION, [PointStruct(id=i, vector=v, payload=asdict(chunk)) for i, (chunk, v) in enumerate(points)])
    finally:
        client.close()


def show_answers(client: "QdrantClient", encoder: Encoder, question: str, limit: int, console: Console) -> None:
    """The best chunks for a question, which is encoded with the query adapter."""
    encoder.encode_queries("")  # the first query of a process merges the adapter; what is timed is any later one
    start = time.perf_counter()
    vector = encoder.encode_queries(question)
    encoded = time.perf_counter()
    hits = client.query_points(COLLECTION, query=vector.tolist(), limit=limit, with_payload=True).points
    seconds = f"{(encoded - start) * 1e3:.0f} ms to encode, {(time.perf_counter() - encoded) * 1e3:.0f} ms to search"
    console.print(f"\n[bold]{escape(question)}[/bold]  [dim]{seconds}[/dim]")
    for hit in hits:
        payload = hit.payload or {}
        text = "\n".join(line for line in payload["text"].splitlines() if line.strip())
        shown = Text(text if len(text) < 500 else f"{text[:500]} …")
        console.print(Panel(shown, title=Text(f"{payload['heading']} · {hit.score:.2f}"), title_align="left"))


def compare(client: "QdrantClient", encoder: Encoder, sections: list[list[Chunk]], console: Console) -> None:
    """Where the known answers come with other adapters, fewer dimensions and without late chunking, side by side."""
    chunks = list(chain.from_iterable(sections))
    asked = [question for question in QUESTIONS if any(answers(chunk, question) for chunk in chunks)]
    records, _ = client.scroll(COLLECTION, limit=len(chunks), with_vectors=True, with_payload=False)
    late = np.array([record.vector for record in records], dtype=np.float32)
    texts = [chunk.text for chunk in chunks]
    console.print("\nThe same chunks each on its own, with the passage adapter and with none, to compare:")
    alone, bare = encoder.encode_documents(texts, progress=True), encoder.encode(texts, task=None, progress=True)
    queries, bare_queries = encoder.encode_queries(asked), encoder.encode(asked, task=None)
    full = encoder.dimensions
    columns: dict[str, tuple[Vectors, Vectors, int]] = {
        "A": (queries, late, full),
        "B": (queries, late, full // 4),
        "C": (queries, late, 32),
        "D": (queries, alone, full),
        "E": (bare_queries, bare, full),
    }
    console.print(
        f"\nAt which place the answer comes, 1 is best ({len(asked)} questions: a look, not a benchmark)\n"
        f"  A  query and passage adapter, {full} dimensions, late chunking: what was shown above\n"
        f"  B  the same cut to {full // 4} dimensions: a quarter of the memory\n"
        f"  C  the same cut to 32 dimensions\n"
        f"  D  as A without late chunking: each chunk knows only itself\n"
        f"  E  as D without adapters"
    )
    ranks = {name: rank_answers(*column, chunks, asked) for name, column in columns.items()}
    table = Table("question", *(Column(name, justify="right", no_wrap=True) for name in columns))
    for number, question in enumerate(asked):
        table.add_row(question, *(f"{ranks[name][number]}" for name in columns))
    table.add_section()
    rows: list[tuple[str, Callable[[NDArray[np.int64]], str]]] = [
        ("answers at the first place", lambda places: f"{(places == 1).sum()}"),
        ("answers among the first five", lambda places: f"{(places <= 5).sum()}"),
        ("mean reciprocal rank", lambda places: f"{(1 / places).mean():.2f}"),
    ]
    for title, count in rows:
        table.add_row(title, *(count(ranks[name]) for name in columns))
    table.add_row("bytes of a vector", *(f"{4 * dimensions}" for _, _, dimensions in columns.values()))
    console.print(table)


def late_vectors(encoder: Encoder, sections: list[list[Chunk]]) -> Vectors:
    """One vector for each chunk, made in the context of its section: (chunks, dimensions)."""
    return np.concatenate(encoder.encode_chunks([[chunk.text for chunk in section] for section in sections], progress=True))


def rank_answers(queries: Vectors, vectors: Vectors, dimensions: int, chunks: list[Chunk], asked: list[str]) -> NDArray[np.int64]:
    """The place of the best right chunk for each question, by cosine over the first `dimensions` values: (questions,)."""
    cut = (queries[:, :dimensions], vectors[:, :dimensions])
    left, right = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in cut)
    right_chunks = np.array([[answers(chunk, question) for chunk in chunks] for question in asked])
    scores = left @ right.T
    best = np.where(right_chunks, scores, -np.inf).max(axis=1, keepdims=True)
    places: NDArray[np.int64] = (scores > best).sum(axis=1) + 1
    return places
