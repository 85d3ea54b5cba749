"""What ingesting costs beside encoding: the same texts into a null sink, into Qdrants, and through the encoder alone.

    python benchmarks/ingest.py [--model mini] [--layers 2] [--documents 200] [--repeats 3]

Texts are those of Python's language reference in chunks of about 128 tokens, one chunk a document, so that every document has its
id, hash and look-up. `--late` takes whole pages as lists of such chunks, late chunked; `--split` leaves the pages for the
pipeline to split, which encoding alone does not do. `--layers N` measures with random weights of the published width instead of
the bundled model. Over HTTP means a process of its own with the tests' stand-in server. Runs are interleaved and medians
compared; nothing is asserted.
"""

import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from pydoc_data.topics import topics
from typing import Annotated, Any

import typer
from qdrant_client import QdrantClient
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.checkpoints import Shape, random_weights, write_native
from support.qdrant.http import stub_qdrant
from taskvec import Encoder
from taskvec_integrations.defaults import CHUNK_TOKENS
from taskvec_integrations.ingestion.backend import Backend, Found
from taskvec_integrations.ingestion.chunking import split
from taskvec_integrations.ingestion.documents import read_document
from taskvec_integrations.ingestion.points import Hit, Point, Record, Vector
from taskvec_integrations.qdrant import QdrantStore
from taskvec_integrations.store import Document, IngestReport, Store


class NullBackend(Backend):
    """A database that is infinitely fast and holds nothing."""

    name = "null"

    def find(self) -> Found | None:
        return None

    def create(self, record: Record) -> None:
        pass

    def adopt(self, record: Record) -> None:
        pass

    def stored(self, document_ids: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        return {}

    def write(self, points: Sequence[Point]) -> None:
        for point in points:
            point.fields()

    def delete(self, ids: Sequence[str]) -> None:
        pass

    def query(self, vector: Vector, limit: int, filter: Any) -> list[Hit]:
        return []


def documents(encoder: Encoder, number: int, late: bool, whole: bool) -> list[Document]:
    """Chunks as documents of their own, pages of chunks, or pages; repeated with a number in front where there are too few."""
    pages = [text.strip() for text in topics.values()]
    if whole:
        return [Document(n, f"{n}. {pages[n % len(pages)]}") for n in range(number)]
    pieces = [[page[start:stop] for start, stop in spans] for page, spans in zip(pages, split(pages, encoder, 128), strict=True)]
    if not late:
        pieces = [[piece] for page in pieces for piece in page]
    numbered = ([f"{n}. {piece}" for piece in pieces[n % len(pieces)]] for n in range(number))
    return [Document(n, chunks=chunks, payload={"page": n}) for n, chunks in enumerate(numbered)]


def alone(encoder: Encoder, given: Sequence[Document], late: bool) -> Callable[[], object]:
    """The encoder on the same texts, chunks known beforehand."""
    texts = [document.text or " ".join(document.chunks or ()) for document in given]
    spans = [read_document(document).spans for document in given]
    known = [own or made for own, made in zip(spans, split(texts, encoder, CHUNK_TOKENS), strict=True)]
    if late:
        return lambda: encoder.encode_spans(texts, known)
    chunks = [text[start:stop] for text, own in zip(texts, known, strict=True) for start, stop in own]
    return lambda: encoder.encode_documents(chunks)


@contextmanager
def stores(encoder: Encoder, late: bool) -> Iterator[dict[str, Callable[[], Store]]]:
    """A new store of each kind."""
    options: dict[str, Any] = {"encoder": encoder, "late_chunking": late}
    with ExitStack() as stack:
        server = stack.enter_context(subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True))
        stack.callback(server.kill)
        assert server.stdout
        remote = QdrantClient(server.stdout.readline().strip(), check_compatibility=False, timeout=60)
        stack.callback(remote.close)
        numbers = count()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))

        def embedded(path: str | None) -> Callable[[], Store]:
            def make() -> Store:
                client = QdrantClient(path=str(folder / f"{path}{next(numbers)}")) if path else QdrantClient(":memory:")
                stack.callback(client.close)
                return QdrantStore(client, "docs", **options)

            return make

        def over_http() -> Store:
            return QdrantStore(remote, f"docs{next(numbers)}", **options)

        yield {
            "null sink": lambda: Store(NullBackend(), encoder=encoder, late_chunking=late),
            "Qdrant in memory": embedded(None),
            "Qdrant in a folder": embedded("index"),
            "Qdrant in memory over HTTP": over_http,
        }


def measure(encoder: Encoder, given: Sequence[Document], late: bool, repeats: int) -> tuple[float, dict[str, list[IngestReport]]]:
    """Median seconds of encoding alone, and the reports of every kind of store."""
    run = alone(encoder, given, late)
    run()
    seconds: list[float] = []
    reports: dict[str, list[IngestReport]] = {}
    with stores(encoder, late) as kinds:
        for _ in range(repeats):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
            for name, make in kinds.items():
                reports.setdefault(name, []).append(make().ingest(given))
    return statistics.median(seconds), reports


def show(base: float, reports: Mapping[str, list[IngestReport]]) -> None:
    """Seconds, the ratio to encoding alone, and how the time was shared."""
    table = Table("", "s", "x encoding alone", "encoding", "uploading", "chunks/s")
    table.add_row("encoding alone", f"{base:.2f}", "1.000", "", "", "")
    for name, runs in reports.items():
        one = sorted(runs, key=lambda report: report.seconds)[len(runs) // 2]
        shares = (f"{part / one.seconds:.0%}" for part in (one.seconds_encoding, one.seconds_uploading))
        table.add_row(name, f"{one.seconds:.2f}", f"{one.seconds / base:.3f}", *shares, f"{one.chunks.written / one.seconds:.0f}")
    Console(width=110).print(table)


def main(
    model: str = "mini",
    layers: Annotated[int, typer.Option(help="random weights of full width with so many layers, instead of a model")] = 0,
    number: Annotated[int, typer.Option("--documents")] = 1000,
    late: bool = False,
    whole: Annotated[bool, typer.Option("--split", help="let the pipeline split pages")] = False,
    repeats: int = 3,
    serve: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Load, make the texts, measure and print."""
    if serve:
        with stub_qdrant() as server:
            print(server.url, flush=True)
            signal.pause()
    with tempfile.TemporaryDirectory() as folder:
        if layers:
            shape = Shape(width=1024, layers=layers, heads=16, inner=4096, vocab=250_002)
            model = str(write_native(Path(folder) / "model", random_weights(shape)))
        encoder = Encoder.from_pretrained(model)
        given = documents(encoder, number, late, whole)
        tokens = sum(encoder.count_tokens([document.text or " ".join(document.chunks or ()) for document in given]))
        print(
            f"{encoder!r}, {number} documents, {tokens} tokens, {late=}, split={whole}, {repeats} repeats",
            flush=True,
        )
        show(*measure(encoder, given, late, repeats))


if __name__ == "__main__":
    typer.run(main)
