"""`taskvec search`: a question to a collection that `taskvec ingest` or a store has filled."""

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from taskvec_integrations.cli.loading import load
from taskvec_integrations.ingestion.backend import Hit
from taskvec_integrations.lazy_encoder import LazyEncoder
from taskvec_integrations.store_url import StoreURL

SHOWN = 500  # characters of a hit's text; --json has all


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
    """Print the best chunks; LookupError where there is no such collection, ValueError where another model filled it."""
    if not question.strip():
        raise ValueError("the question is empty: ask something")
    if url.embedded and not Path(url.location).exists():  # opening it would make it
        raise LookupError(f"there is nothing at {url}: ingest into it first")
    with url.explaining(), url.open(collection, encoder=encoder, dimensions=dimensions) as store:
        if not store.exists():
            raise LookupError(f"there is no collection {collection!r} in {url}: ingest into it first")
        load(encoder)
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
    shown = Text(text if len(text) <= SHOWN else f"{text[:SHOWN]} …")
    if hit.payload:
        shown.append("\n" + ", ".join(f"{name}: {value}" for name, value in hit.payload.items()), style="dim")
    return Panel(shown, title=Text(f"{hit.document_id} · chunk {hit.chunk} · {hit.score:.2f}"), title_align="left")
