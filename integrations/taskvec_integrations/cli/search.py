"""`taskvec search`: a question to a collection that `taskvec ingest` or a store has filled."""

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from taskvec_integrations.cli.model_loading import load_model
from taskvec_integrations.ingestion.points import Hit
from taskvec_integrations.lazy_encoder import LazyEncoder
from taskvec_integrations.store_url import StoreURL

MAX_TEXT_CHARACTERS = 500
"""As much of a hit's text is shown; --json has all of it."""


def run(
    question: str,
    url: StoreURL,
    collection: str,
    encoder: LazyEncoder,
    dimensions: int | None,
    limit: int,
    as_json: bool,
    out: Console,
) -> None:
    """Print the best chunks for a question.

    Args:
        question: What to search for.
        url: The database.
        collection: The collection, in Pinecone the namespace.
        encoder: The model that filled the collection.
        dimensions: The length of the vectors in it; None is the model's full width.
        limit: How many chunks to print.
        as_json: Print a JSON object a line instead of panels.
        out: Where panels are printed.

    Raises:
        ValueError: The question is empty, or another model or other settings filled the collection.
        LookupError: There is no such collection.
    """
    if not question.strip():
        raise ValueError("the question is empty: ask something")
    if url.embedded and not Path(url.location).exists():  # opening it would create it
        raise LookupError(f"there is nothing at {url}: ingest into it first")
    with url.explaining(), url.open(collection, encoder=encoder, dimensions=dimensions) as store:
        if not store.exists():
            raise LookupError(f"there is no collection {collection!r} in {url}: ingest into it first")
        load_model(encoder)
        hits = store.search(question, limit)
    for hit in hits:
        if as_json:
            print(json.dumps(asdict(hit), ensure_ascii=False))
        else:
            out.print(_panel(hit))
    if not hits and not as_json:
        out.print(f"The collection {collection} is empty.")


def _panel(hit: Hit) -> Panel:
    text = "\n".join(line for line in hit.text.splitlines() if line.strip())
    content = Text(text if len(text) <= MAX_TEXT_CHARACTERS else f"{text[:MAX_TEXT_CHARACTERS]} …")
    if hit.payload:
        content.append("\n" + ", ".join(f"{name}: {value}" for name, value in hit.payload.items()), style="dim")
    return Panel(content, title=Text(f"{hit.document_id} · chunk {hit.chunk} · {hit.score:.2f}"), title_align="left")
