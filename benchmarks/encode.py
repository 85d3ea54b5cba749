"""Speed of taskvec against sentence-transformers on the same random full-width weights, and against the bare matrix products.

    python benchmarks/encode.py [--layers 24] [--repeats 3] [--corpus mixed --corpus query ...] [--batch-size 4 ...] [--lock]
        [--json FILE] [--plot FILE]

One process, one set of weights. Corpora: `short` (queries of 5 to 30 tokens), `mixed` (log-normal, median 100), `long` (2,000 to
8,000 tokens), `late` (a document of 8,000 tokens in 40 chunks, late chunked, against one plain pass over it).
sentence-transformers is swept over batch sizes 1 to 32 in float32 and bfloat16 (transformers 5 takes the dtype of the checkpoint:
bfloat16 for the published weights, float32 was the default before), ONNX Runtime in float32, both sorted by length. Then the best
three, the best one on one thread, the best of ONNX Runtime, transformers' own model packed by us, taskvec and the bare products
(on `long` with attention) run interleaved; after them the defaults, batches of 32, for transformers and ONNX Runtime in input
order. A run that has taken a minute in all is not repeated. --lock: where the system puts memory away that was not used for a
while, whoever comes after a slow run would pay for it. `query` is the latency of one query. Medians are printed; nothing is
asserted here.
"""

import ctypes
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from peers import bare_products, onnx_runtime, packed_transformers, padded_transformers, sentence_transformer

from support.checkpoints import CORPUS, Shape, random_weights, write_native
from taskvec import Encoder
from taskvec.devices import activation_dtype, bfloat16_is_fast
from taskvec.int8 import int8_works
from taskvec.kernels.linear import amx_int8_works
from taskvec.packing import TokenSequence, pack
from taskvec_integrations.cli.bench import texts_of

BATCH_SIZES = (1, 2, 4, 8, 16, 32)
DEFAULT = 32
LOCKED = 1 | 2 | 4  # what is there and what comes (MCL_CURRENT, MCL_FUTURE), once it is touched (MCL_ONFAULT)
CORPORA = ("query", "short", "mixed", "long", "late")
QUERY = "which river flows through the capital of the country"
CHUNKS = 40
PATIENCE = 60  # seconds after which a run is not repeated

Run = Callable[[], object]


def corpus(name: str, encoder: Encoder) -> list[str]:
    """The texts of one corpus, `late` is one document."""
    generator = np.random.default_rng(1)
    lengths: dict[str, Sequence[float]] = {
        "short": generator.integers(5, 30, 256).tolist(),
        "mixed": np.exp(generator.normal(np.log(100), 0.8, 48)).clip(8, 1024).tolist(),
        "long": generator.integers(2000, 7600, 4).tolist(),
        "late": [7800],
    }
    return texts_of(encoder, lengths[name], CORPUS.split())


def seconds(run: Run) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(runs: Mapping[str, Run], repeats: int) -> dict[str, list[float]]:
    """Seconds of each run, the repetitions interleaved so that a noisy moment hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            if sum(times[name]) < PATIENCE:
                times[name].append(seconds(run))
    return times


def on_one_thread(run: Run) -> None:
    """Run with torch on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run()
    finally:
        torch.set_num_threads(threads)


class Benchmark:
    """All backends over one checkpoint, in float32 and, where it is faster here, bfloat16."""

    def __init__(self, folder: Path, shape: Shape, repeats: int, sizes: Sequence[int]) -> None:
        self._shape, self._repeats, self._sizes = shape, repeats, sizes
        self._fast = torch.bfloat16 if bfloat16_is_fast() else torch.float32
        dtypes = {str(dtype).removeprefix("torch."): dtype for dtype in dict.fromkeys((torch.float32, self._fast))}
        self._name = list(dtypes)[-1]
        self._encoders = {name: Encoder.from_pretrained(folder, dtype=dtype, device="cpu") for name, dtype in dtypes.items()}
        if amx_int8_works() or int8_works(activation_dtype(torch.int8)):
            self._encoders["int8"] = Encoder.from_pretrained(folder, dtype="int8", device="cpu")
        self._peers = {name: sentence_transformer(folder, dtype) for name, dtype in dtypes.items()}
        self._packed = packed_transformers(folder, self._fast, self.ours)
        self._folder = folder
        self._show_differences()

    def _show_differences(self) -> None:
        """How far the backends' vectors of one query lie from sentence-transformers in float32."""
        plain = {name: partial(peer.encode, show_progress_bar=False) for name, peer in self._peers.items()}
        found = {f"sentence-transformers, {name}": run(QUERY) for name, run in plain.items()}
        found |= {f"taskvec, {name}": encoder.encode(QUERY, task=None) for name, encoder in self._encoders.items()}
        theirs = found["sentence-transformers, float32"]
        for name, vector in found.items():
            cosine = vector @ theirs / (np.linalg.norm(vector) * np.linalg.norm(theirs))
            difference = np.abs(vector - theirs).max()
            print(f"{name}: cosine {cosine:.5f} to sentence-transformers, largest difference {difference:.1e}", flush=True)

    @cached_property
    def _onnx(self) -> Callable[[Sequence[str], int, bool], Any]:
        run = onnx_runtime(self._peers["float32"], self._folder.parent)
        difference = (run([QUERY], 1, False) - padded_transformers(self._peers["float32"], [QUERY], 1)).abs().max()
        print(f"ONNX Runtime: largest difference to transformers {difference:.1e}", flush=True)
        return run

    @property
    def ours(self) -> Encoder:
        """taskvec as it comes."""
        return self._encoders[self._name]

    def throughput(self, name: str) -> Iterator[dict[str, Any]]:
        """A row for each finalist on one corpus."""
        texts = corpus(name, self.ours)
        tokens = sum(self.ours.count_tokens(texts))
        print(f"{name}: {len(texts)} texts, {tokens} tokens", flush=True)
        sizes = [size for size in self._sizes if size < 2 * len(texts)]
        sweep = self._sweep(texts, sizes, long=name == "long")
        swept = {run: taken[0] for run, taken in measure(sweep, 1).items()}
        fastest = sorted(swept, key=lambda run: swept[run])
        single = f"{fastest[0]}, 1 thread"
        finalists: dict[str, Run] = {
            f"taskvec, {dtype}": partial(encoder.encode, texts, task=None) for dtype, encoder in self._encoders.items()
        }
        best_onnx = [run for run in fastest if run.startswith("ONNX")][:1]
        finalists |= {run: sweep[run] for run in [*fastest[:3], *best_onnx]}
        finalists |= {single: partial(on_one_thread, sweep[fastest[0]])}
        finalists[f"transformers' model, packed by us, {self._name}"] = lambda: self._packed(texts)
        limit = "bare matrix products" + (" and attention" if name == "long" else "")
        finalists[f"{limit}, {self._name}"] = bare_products(self._shape, self._fast, self._batches(texts), name == "long")
        yield from self._rows(name, finalists, tokens)
        ours = {f"taskvec, {self._name}, again": finalists[f"taskvec, {self._name}"]}
        yield from self._rows(name, ours | self._defaults(texts, min(DEFAULT, len(texts)), long=name == "long"), tokens)

    def _sweep(self, texts: list[str], sizes: Sequence[int], long: bool) -> dict[str, Run]:
        """Every peer at every batch size; on `long` without ONNX Runtime, whose attention scores filled 24 GB (killed)."""
        runs: dict[str, Run] = {
            f"sentence-transformers, {dtype}, batch {size}": partial(peer.encode, texts, batch_size=size, show_progress_bar=False)
            for dtype, peer in self._peers.items()
            for size in sizes
        }
        for size in [] if long else sizes:
            runs[f"ONNX Runtime, float32, batch {size}"] = partial(self._onnx, texts, size, True)
        return runs

    def _defaults(self, texts: list[str], size: int, long: bool) -> dict[str, Run]:
        """What a user who sets nothing gets: batches of 32."""
        runs: dict[str, Run] = {}
        for dtype, peer in self._peers.items():
            runs[f"sentence-transformers, {dtype}, batch {size} (default)"] = partial(
                peer.encode, texts, batch_size=size, show_progress_bar=False
            )
            runs[f"transformers padded, {dtype}, batch {size} in input order"] = partial(padded_transformers, peer, texts, size)
        if not long:
            runs[f"ONNX Runtime, float32, batch {size} in input order"] = partial(self._onnx, texts, size, False)
        return runs

    def late_chunking(self) -> Iterator[dict[str, Any]]:
        """One document, late chunked and plain."""
        (document,) = corpus("late", self.ours)
        words = document.split()
        size = -(-len(words) // CHUNKS)
        chunks = [" ".join(words[start : start + size]) for start in range(0, len(words), size)]
        tokens = self.ours.count_tokens(document)[0]
        print(f"late: {len(chunks)} chunks, {tokens} tokens", flush=True)
        runs: dict[str, Run] = {
            f"taskvec, {self._name}": partial(self.ours.encode, chunks, task=None, late_chunking=True),
            f"taskvec, {self._name}, one plain text": partial(self.ours.encode, document, task=None),
        }
        yield from self._rows("late", runs, tokens)

    def latency(self) -> Iterator[dict[str, Any]]:
        """Milliseconds of a single short query."""
        runs: dict[str, Run] = {
            f"taskvec, {name}": partial(encoder.encode, QUERY, task=None) for name, encoder in self._encoders.items()
        }
        runs |= {
            f"sentence-transformers, {name}": partial(peer.encode, QUERY, show_progress_bar=False)
            for name, peer in self._peers.items()
        }
        measure(runs, 3)
        times = measure(runs, 60)
        ours = statistics.median(times[f"taskvec, {self._name}"])
        for name, taken in times.items():
            p50, p99 = statistics.median(taken), float(np.percentile(taken, 99))
            yield {"corpus": "one query", "name": name, "p50_ms": p50 * 1e3, "p99_ms": p99 * 1e3, "ratio": p50 / ours}

    def _batches(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        ids = self.ours._tokenizer.encode(texts, "")
        sequences = [TokenSequence.whole(one, row) for row, one in enumerate(ids)]
        return [batch.lengths for batch in pack(sequences, self.ours.max_batch_tokens)]

    def _rows(self, corpus: str, runs: Mapping[str, Run], tokens: int) -> Iterator[dict[str, Any]]:
        """A row for each run, with its ratio to the first taskvec run of the fastest dtype."""
        measure(runs, 1)  # a system that is short of memory has put away what was not used for a while
        medians = {name: statistics.median(taken) for name, taken in measure(runs, self._repeats).items()}
        limit = next((taken for name, taken in medians.items() if name.startswith("bare")), None)
        ours = next(taken for name, taken in medians.items() if name.startswith(f"taskvec, {self._name}"))
        for name, taken in medians.items():
            row = {"corpus": corpus, "name": name, "tokens_per_second": tokens / taken, "ratio": taken / ours}
            yield row | ({"share": limit / taken} if limit else {})


def footprint(folder: Path) -> dict[str, Any]:
    """Load time and peak memory of taskvec alone, in a process of its own: after loading, and after 40,000 tokens."""
    child = [sys.executable, __file__, "--child", str(folder)]
    printed = subprocess.run(child, check=True, capture_output=True, text=True).stdout
    result: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return result


def peak_mb() -> float:
    """Peak memory of this process so far; getrusage would count what the parent had when it forked. Not a number off Linux."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), float("nan"))


def child(folder: Path) -> None:
    """What `footprint` runs."""
    start = time.perf_counter()
    encoder = Encoder.from_pretrained(folder, device="cpu")
    loaded = time.perf_counter() - start
    encoder.encode("a", task=None)
    first = time.perf_counter() - start - loaded
    before = peak_mb()
    encoder.encode(texts_of(encoder, [100] * 400, CORPUS.split()), task=None)
    row = {"load_s": loaded, "first_use_s": first, "loaded_mb": before, "encoding_adds_mb": peak_mb() - before}
    print(json.dumps({"corpus": "a process of its own", "name": "taskvec"} | row))


def show(rows: Sequence[dict[str, Any]]) -> None:
    """One table: throughput and latency, each with the ratio to taskvec."""
    table = Table("corpus", "", "tokens/s", "p50 / p99 ms", "taskvec is x times as fast", "share of the bare products")
    for row in rows:
        if "ratio" in row:
            speed = f"{row['tokens_per_second']:.0f}" if "tokens_per_second" in row else ""
            latency = f"{row['p50_ms']:.1f} / {row['p99_ms']:.1f}" if "p50_ms" in row else ""
            share = f"{row['share']:.0%}" if "share" in row else ""
            table.add_row(row["corpus"], row["name"], speed, latency, f"{row['ratio']:.2f}", share)
    console = Console(width=150)
    console.print(table)
    for row in rows:
        if "load_s" in row:
            console.print(", ".join(f"{key} {value:.2f}" for key, value in row.items() if isinstance(value, float)))


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Tokens per second of every row, a panel for each corpus."""
    from matplotlib import pyplot

    panels: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if "tokens_per_second" in row:
            panels.setdefault(row["corpus"], []).append(row)
    heights = [len(found) + 2 for found in panels.values()]
    size = (9, 0.2 * sum(heights))
    figure, axes = pyplot.subplots(len(panels), 1, figsize=size, height_ratios=heights, squeeze=False, layout="constrained")
    for axis, (name, found) in zip(axes.flat, panels.items(), strict=True):
        colours = ["#1f77b4" if row["name"].startswith("taskvec") else "#bbbbbb" for row in found]
        axis.barh([row["name"] for row in found], [row["tokens_per_second"] for row in found], color=colours)
        axis.invert_yaxis()
        axis.set_title(f"{name}, tokens per second", loc="left")
    figure.savefig(path, dpi=120)


def main(
    layers: int = 24,
    repeats: int = 3,
    corpora: Annotated[list[str] | None, typer.Option("--corpus", help=f"{', '.join(CORPORA)}; all by default")] = None,
    sizes: Annotated[list[int] | None, typer.Option("--batch-size", min=1, help="of peers; 1 to 32 by default")] = None,
    lock: Annotated[bool, typer.Option("--lock", help="keep all memory in RAM (Linux, root)")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="write all rows there")] = None,
    plot_file: Annotated[Path | None, typer.Option("--plot", help="draw a plot there")] = None,
    child_of: Annotated[Path | None, typer.Option("--child", hidden=True)] = None,
) -> None:
    """Write random weights, sweep the peer, measure the finalists, print and save."""
    warnings.simplefilter("ignore")
    if child_of:
        child(child_of)
        return
    if lock and ctypes.CDLL(None).mlockall(LOCKED):
        raise typer.BadParameter("--lock needs the right to lock memory: run it as root")
    if unknown := set(corpora or ()) - set(CORPORA):
        raise typer.BadParameter(f"{min(unknown)!r} is none of {', '.join(CORPORA)}")
    shape = Shape(width=1024, layers=layers, heads=16, inner=4096, vocab=250_002)
    with tempfile.TemporaryDirectory() as name:
        folder = write_native(Path(name) / "model", random_weights(shape), torch.bfloat16)
        rows = [footprint(folder)]
        benchmark = Benchmark(folder, shape, repeats, sizes or BATCH_SIZES)
        print(f"{layers} layers, {torch.get_num_threads()} threads", flush=True)
        other = {"query": benchmark.latency, "late": benchmark.late_chunking}
        for corpus_name in corpora or CORPORA:
            rows += other.get(corpus_name, partial(benchmark.throughput, corpus_name))()
    show(rows)
    if json_file:
        json_file.write_text(json.dumps(rows, indent=1))
    if plot_file:
        plot(rows, plot_file)


if __name__ == "__main__":
    typer.run(main)
