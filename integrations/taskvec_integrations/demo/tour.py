"""The demo: Python's language reference in an embedded Qdrant, and what tasks, dimensions and late chunking change there."""

import contextlib
import hashlib
import os
import sys
import time
from collections.abc import Callable
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

from taskvec import DEFAULT_MODEL, MINI, Encoder
from taskvec.integration import Vectors, cut_dimensions
from taskvec_integrations.demo.text import QUESTIONS, ReferenceChunk, answers, read_sections
from taskvec_integrations.extras import require

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

    from taskvec_integrations.qdrant import QdrantStore

Sections = list[list[ReferenceChunk]]
"""The text by section and chunk."""

COLLECTION = "python_reference"
TOUR_QUESTIONS = 4
"""So many questions are asked in a tour."""
MAX_TEXT_CHARACTERS = 500
"""As much of a hit's text is shown."""

NEXT_STEPS = """
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


def run(question: str | None, model: str, folder: Path, console: Console, sections: Sections | None = None) -> None:
    """Index the reference unless that was done before, then answer a question, or give the tour.

    Args:
        question: What to ask; None is the tour: a few known questions, and a comparison.
        model: A hub id, a folder or "mini".
        folder: Where the index is kept.
        console: Where to print.
        sections: The text; None is Python's language reference.

    Raises:
        MissingExtraError: Qdrant's client is not installed.
        IndexInUseError: Another process has the index open.
        OSError: The model cannot be found, or the folder cannot be written.
    """
    require("qdrant_client", "qdrant")
    start = time.perf_counter()
    with Encoder.from_pretrained(model) as encoder:
        console.print(f"{encoder.model_id} loaded in {time.perf_counter() - start:.1f} s on {encoder.device} ({encoder.dtype})")
        sections = sections or read_sections()
        with contextlib.closing(open_index(encoder, sections, folder)) as client:
            store = fill(client, encoder, sections, console)
            if question is not None:
                show_answers(store, sections, question, 3, console)
                return
            for known in list(QUESTIONS)[:TOUR_QUESTIONS]:
                show_answers(store, sections, known, 1, console)
            compare(stored_vectors(client, sections), encoder, sections, console)
    if model == MINI:
        command = f"{sys.argv[0]} demo" + (f" --folder {folder}" if folder != default_folder() else "")
        real = f"{command} --model {DEFAULT_MODEL}"
        steps = NEXT_STEPS.format(again=f'{command} "your question"', real=real, folder=folder)
        console.print(steps, soft_wrap=True, highlight=False)


def open_index(encoder: Encoder, sections: Sections, folder: Path) -> "QdrantClient":
    """Open the embedded Qdrant of this model and this text; IndexInUseError where another process has it open."""
    from qdrant_client import QdrantClient

    path = folder / index_name(encoder.fingerprint, sections)
    path.mkdir(parents=True, exist_ok=True)
    try:
        return QdrantClient(path=str(path))
    except RuntimeError as error:
        if "already accessed" not in str(error):
            raise
        raise IndexInUseError(f"another process uses the index in {path}: wait for it, or pass another --folder") from None


def index_name(fingerprint: str, sections: Sections) -> str:
    """The name of an index's folder: a digest of the model and of the text, which is written out as in version 0.1.0."""
    chunks = [", ".join(f"Chunk(heading={chunk.heading!r}, text={chunk.text!r})" for chunk in section) for section in sections]
    content = f"({fingerprint!r}, [{', '.join(f'[{section}]' for section in chunks)}])"
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def fill(client: "QdrantClient", encoder: Encoder, sections: Sections, console: Console) -> "QdrantStore":
    """Fill a store with every section as a late-chunked document; what it already holds is not encoded again."""
    from taskvec_integrations.qdrant import QdrantStore
    from taskvec_integrations.store import Document

    chunks = sum(map(len, sections))
    if not client.collection_exists(COLLECTION) or client.count(COLLECTION).count != chunks:
        console.print(f"Indexing Python's language reference: {len(sections)} sections, {chunks} chunks, late chunking on")
    store = QdrantStore(client, COLLECTION, encoder=encoder, late_chunking=True)
    documents = [Document(number, chunks=[chunk.text for chunk in section]) for number, section in enumerate(sections)]
    store.ingest(documents, progress=True)
    return store


def show_answers(store: "QdrantStore", sections: Sections, question: str, limit: int, console: Console) -> None:
    """Print the best chunks for a question, which is encoded with the query adapter."""
    store.search("")  # the first query of a process merges the adapter, which is not timed
    start = time.perf_counter()
    hits = store.search(question, limit)
    milliseconds = (time.perf_counter() - start) * 1e3
    console.print(f"\n[bold]{escape(question)}[/bold]  [dim]{milliseconds:.0f} ms[/dim]")
    for hit in hits:
        heading = sections[int(hit.document_id)][hit.chunk].heading
        text = "\n".join(line for line in hit.text.splitlines() if line.strip())
        content = Text(text if len(text) < MAX_TEXT_CHARACTERS else f"{text[:MAX_TEXT_CHARACTERS]} …")
        console.print(Panel(content, title=Text(f"{heading} · {hit.score:.2f}"), title_align="left"))


def stored_vectors(client: "QdrantClient", sections: Sections) -> Vectors:
    """The vectors of all chunks, in the order of the text: (chunks, dimensions)."""
    points, _ = client.scroll(COLLECTION, limit=sum(map(len, sections)), with_vectors=True, with_payload=["document_id", "chunk"])
    points.sort(key=lambda point: (int((point.payload or {})["document_id"]), (point.payload or {})["chunk"]))
    return np.array([point.vector for point in points], dtype=np.float32)


def compare(late: Vectors, encoder: Encoder, sections: Sections, console: Console) -> None:
    """Print at which place the known answers come with other adapters, fewer dimensions and without late chunking."""
    chunks = list(chain.from_iterable(sections))
    asked = [question for question in QUESTIONS if any(answers(chunk, question) for chunk in chunks)]
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


def rank_answers(
    queries: Vectors, vectors: Vectors, dimensions: int, chunks: list[ReferenceChunk], questions: list[str]
) -> NDArray[np.int64]:
    """The place of the best chunk with the answer, for each question.

    Args:
        queries: Vectors of the questions (questions, d).
        vectors: Vectors of the chunks (chunks, d).
        dimensions: How many values of a vector are compared, by cosine.
        chunks: The chunks.
        questions: The questions, of QUESTIONS.

    Returns:
        Places from 1 on (questions,).
    """
    left, right = cut_dimensions(queries, dimensions), cut_dimensions(vectors, dimensions)
    right_chunks = np.array([[answers(chunk, question) for chunk in chunks] for question in questions])
    scores = left @ right.T
    best = np.where(right_chunks, scores, -np.inf).max(axis=1, keepdims=True)
    places: NDArray[np.int64] = (scores > best).sum(axis=1) + 1
    return places
