"""`taskvec bench`: how fast a model is on this machine at what people do with it. Peers are measured by benchmarks/encode.py."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pydoc_data.topics import topics

import numpy as np
from rich.console import Console
from rich.table import Column, Table

from taskvec import Encoder, Task, Usage
from taskvec_integrations.cli.console import stderr
from taskvec_integrations.cli.model_loading import load_model
from taskvec_integrations.lazy_encoder import LazyEncoder

LATE_CHUNKS = 40
"""Chunks of the document that is late chunked."""
PASSAGES = "passages, median 100 tokens"
PASSAGE_TOKENS = 128
"""The length of a passage in the sentence about a million of them."""


@dataclass(frozen=True)
class Workload:
    """Texts that one call encodes.

    Attributes:
        name: How the table calls it.
        lengths: The tokens of each text.
        task: What the vectors are for; a model without this adapter is measured bare.
        late_chunking: Whether the texts are the chunks of one document.
    """

    name: str
    lengths: Sequence[float]
    task: Task = Task.RETRIEVAL_PASSAGE
    late_chunking: bool = False


@dataclass(frozen=True)
class Measurement:
    """Calls of one workload.

    Attributes:
        workload: The name of the workload.
        texts: Texts in a call.
        tokens: Tokens in a call.
        calls: How often it was called.
        p50_ms: The median of a call, in milliseconds.
        p99_ms: The 99th percentile of a call, in milliseconds.
        tokens_per_second: Tokens over the median.
        texts_per_second: Texts over the median.
    """

    workload: str
    texts: int
    tokens: int
    calls: int
    p50_ms: float
    p99_ms: float
    tokens_per_second: float
    texts_per_second: float


def workloads(context: int) -> list[Workload]:
    """What is measured with a model whose context is so many tokens: the same on every machine."""
    generator = np.random.default_rng(1)
    longest = context - context // 8  # words measure tokens only roughly
    short = generator.integers(5, 30, 256).tolist()
    mixed = np.exp(generator.normal(np.log(100), 0.8, 48)).clip(8, min(1024, longest)).tolist()
    return [
        Workload("one query", [12], Task.RETRIEVAL_QUERY),
        Workload("queries of 5 to 30 tokens", short, Task.RETRIEVAL_QUERY),
        Workload(PASSAGES, mixed),
        Workload("long documents", generator.integers(longest // 4, longest, 4).tolist()),
        Workload(
            f"one document of {LATE_CHUNKS} chunks, late chunking", [longest / LATE_CHUNKS] * LATE_CHUNKS, late_chunking=True
        ),
    ]


def words() -> list[str]:
    """The words of Python's language reference, which every Python carries."""
    return [word for topic in sorted(topics) for word in topics[topic].split()]


def texts_of(encoder: Encoder, lengths: Sequence[float], vocabulary: Sequence[str]) -> list[str]:
    """Texts of words drawn from a vocabulary, the same at every call.

    Args:
        encoder: Whose tokens are counted.
        lengths: The tokens of each text, which it has about.
        vocabulary: The words to draw from.

    Returns:
        A text for each length.
    """
    generator = np.random.default_rng(1)
    per_word = encoder.count_tokens(" ".join(generator.choice(vocabulary, 2000)))[0] / 2000
    return [" ".join(generator.choice(vocabulary, max(1, int(length / per_word)))) for length in lengths]


def run(lazy: LazyEncoder, seconds: float, as_json: bool, out: Console) -> None:
    """Measure every workload, for `seconds` each, and print a table, or a JSON object a line."""
    encoder = load_model(lazy)
    rows = []
    with stderr.status("") as status:
        for measurement in measure_all(encoder, seconds, lambda name: status.update(f"measuring {name}")):
            rows.append(measurement)
            if as_json:
                print(json.dumps(asdict(measurement)), flush=True)
    if not as_json:
        out.print(build_table(rows))
        rate = next(row.tokens_per_second for row in rows if row.workload == PASSAGES)
        hours = 1e6 * PASSAGE_TOKENS / rate / 3600
        out.print(f"At {rate:,.0f} tokens a second a million passages of {PASSAGE_TOKENS} tokens take {hours:,.1f} hours.")


def measure_all(encoder: Encoder, seconds: float, on_start: Callable[[str], None]) -> Iterator[Measurement]:
    """A measurement of each workload; `on_start` is called with its name before."""
    for workload in workloads(encoder.max_tokens):
        on_start(workload.name)
        yield measure(encoder, workload, texts_of(encoder, workload.lengths, words()), seconds)


def measure(encoder: Encoder, workload: Workload, texts: list[str], seconds: float) -> Measurement:
    """Encode texts for so many seconds, and at least once. Merging the adapter is not measured.

    Args:
        encoder: The model.
        workload: Which task, and whether the texts are the chunks of one document.
        texts: What each call encodes.
        seconds: How long to measure; the call that exceeds it is the last.

    Returns:
        Percentiles over the calls.
    """
    task = workload.task if workload.task in encoder.tasks else None
    encoder.encode(texts[:1], task=task)  # merges the adapter
    durations: list[float] = []
    while not durations or sum(durations) < seconds:
        usage, start = Usage(), time.perf_counter()
        encoder.encode(texts, task=task, late_chunking=workload.late_chunking, usage=usage)
        durations.append(time.perf_counter() - start)
    p50, p99 = np.percentile(durations, [50, 99])
    return Measurement(
        workload=workload.name,
        texts=len(texts),
        tokens=usage.tokens,
        calls=len(durations),
        p50_ms=float(p50) * 1e3,
        p99_ms=float(p99) * 1e3,
        tokens_per_second=float(usage.tokens / p50),
        texts_per_second=float(len(texts) / p50),
    )


def build_table(rows: Sequence[Measurement]) -> Table:
    """A table with a row for each measurement."""
    columns = [Column(name, justify="right") for name in ("texts", "tokens", "p50 / p99 of a call", "tokens a second")]
    table = Table("", *columns)
    for row in rows:
        table.add_row(
            row.workload,
            f"{row.texts:,}",
            f"{row.tokens:,}",
            f"{row.p50_ms:,.1f} / {row.p99_ms:,.1f} ms",
            f"{row.tokens_per_second:,.0f}",
        )
    return table
