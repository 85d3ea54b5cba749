"""What Ray costs over plain ingestion on the same cores: the same Parquet file through `Store.ingest` and `ingest_dataset`.

    python benchmarks/ray_overhead.py [--model mini] [--layers 2] [--documents 8000] [--actors 2] [--part 512] [--repeats 3]

Both go into an embedded Qdrant in a folder. Starting actors and loading the model in each takes seconds once, whatever the size
of the dataset: to leave it out, each way runs over a short and a long file and the difference counts. Runs are interleaved and
medians compared; nothing is asserted.
"""

import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.parquet as pq
import ray.data
import typer

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from ingest import documents

from support.checkpoints import Shape, random_weights, write_native
from taskvec import Encoder
from taskvec_integrations.files.sources import Columns, FileSource
from taskvec_integrations.ingestion.report import IngestReport
from taskvec_integrations.ray import ingest_dataset
from taskvec_integrations.store_url import StoreURL


def write_parquet(path: Path, encoder: Encoder, number: int) -> Path:
    """Chunks of about 128 tokens as documents."""
    given = documents(encoder, number, late=False, whole=False)
    texts = [(document.chunks or [""])[0] for document in given]
    pq.write_table(pa.table({"id": [str(document.id) for document in given], "text": texts, "page": list(range(number))}), path)
    return path


def plain(path: Path, url: str, encoder: Encoder) -> IngestReport:
    """One process, all cores."""
    with StoreURL.parse(url).open("docs", encoder=encoder) as store:
        return store.ingest(FileSource.open([str(path)], Columns()))


def timed(run: Callable[[Path, str], IngestReport], path: Path, url: str) -> float:
    """Seconds of a run, which has to write everything."""
    start = time.perf_counter()
    report = run(path, url)
    assert report.chunks.written == report.chunks.read > 0, report
    return time.perf_counter() - start


def main(
    model: str = "mini",
    layers: Annotated[int, typer.Option(help="random weights of full width with so many layers, instead of a model")] = 0,
    number: Annotated[int, typer.Option("--documents")] = 8000,
    short: int = 1024,
    actors: int = 2,
    part: int = 512,
    repeats: int = 3,
) -> None:
    """Write the files, run both ways over each, print the difference."""
    os.environ.setdefault("RAY_worker_niceness", "0")  # its workers give way to any other process, and plain ingestion does not
    ray.init(num_cpus=2 * actors, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    with tempfile.TemporaryDirectory() as name, Encoder.from_pretrained(_model(model, layers, Path(name))) as encoder:
        folder, numbers = Path(name), count()
        files = [write_parquet(folder / f"{size}.parquet", encoder, size) for size in (short, number)]
        ways: dict[str, Callable[[Path, str], IngestReport]] = {
            "plain": lambda path, url: plain(path, url, encoder),
            f"Ray, {actors} actors": lambda path, url: ingest_dataset(
                path,
                url,
                collection="docs",
                model=_model(model, layers, folder),
                concurrency=actors,
                num_cpus=1,
                part_documents=part,
            ),
        }
        spent: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(repeats):
            for name, run in ways.items():
                brief, long = (timed(run, file, f"qdrant://{folder}/{next(numbers)}") for file in files)
                spent[name].append(long - brief)
                print(f"{name}: {short} in {brief:.2f} s, {number} in {long:.2f} s", flush=True)
    ray.shutdown()
    medians = {name: statistics.median(runs) for name, runs in spent.items()}
    for name, seconds in medians.items():
        print(
            f"{name}: {(number - short) / seconds:.0f} chunks/s apart from start-up, {seconds / medians['plain'] - 1:+.1%} time"
        )


def _model(model: str, layers: int, folder: Path) -> str:
    if not layers:
        return model
    if not (folder / "model").exists():
        shape = Shape(width=1024, layers=layers, heads=16, inner=4096, vocab=250_002)
        write_native(folder / "model", random_weights(shape))
    return str(folder / "model")


if __name__ == "__main__":
    typer.run(main)
