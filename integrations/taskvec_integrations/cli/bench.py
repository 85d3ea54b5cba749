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
from taskvec_integrations.cli.console import err
from taskvec_integrations.cli.loading import load
from taskvec_integrations.lazy_encoder import LazyEncoder

CHUNKS = 40  # of the document that is late chunked
PASSAGES = "passages, median 100 tokens"
MILLION = 1e6 * 128  # tokens of a million passages


@dataclass(frozen=True)
class Workload:
    """Texts of so many tokens each, which one call encodes; late: they are the chunks of one document."""

    name: str
    lengths: Sequence[float]
    task: Task = Task.RETRIEVAL_PASSAGE
    late: bool = False


@dataclass(frozen=True)
class Measured:
    """Calls of one workload: p50_ms and p99_ms of a call, tokens and texts in a second."""

    workload: str
    texts: int
    tokens: int
    calls: int
    p50_ms: float
    p99_ms: float
    tokens_per_second: float
    texts_per_second: float


def workloads(context: int) -> list[Workload]:
    """What is measured with a model whose context is so many tokens; the same on every machine."""
    generator = np.random.default_rng(1)
    longest = context - context // 8  # words are no exact measure of tokens
    short = generator.integers(5, 30, 256).tolist()
    mixed = np.exp(generator.normal(np.log(100), 0.8, 48)).clip(8, min(1024, longest)).tolist()
    return [
        Workload("one query", [12], Task.RETRIEVAL_QUERY),
        Workload("queries of 5 to 30 tokens", short, Task.RETRIEVAL_QUERY),
        Workload(PASSAGES, mixed),
        Workload("long documents", generator.integers(longest // 4, longest, 4).tolist()),
        Workload(f"one document of {CHUNKS} chunks, late chunking", [longest / CHUNKS] * CHUNKS, late=True),
    ]


def words() -> list[str]:
    """Those of Python's language reference, which every Python carries."""
    return [word for topic in sorted(topics) for word in topics[topic].split()]


def texts_of(encoder: Encoder, lengths: Sequence[float], vocabulary: Sequence[str]) -> list[str]:
    """Texts of about so many tokens, of words drawn from `vocabulary`; the same at every call."""
    generator = np.random.default_rng(1)
    per_word = encoder.count_tokens(" ".join(generator.choice(vocabulary, 2000)))[0] / 2000
    return [" ".join(generator.choice(vocabulary, max(1, int(length / per_word)))) for length in lengths]


def run(lazy: LazyEncoder, seconds: float, as_json: bool, out: Console) -> None:
    """Measure everything, for `seconds` each, and print a table, or a JSON object a line."""
    encoder = load(lazy)
    rows = []
    with err.status("") as status:
        for measured in measure_all(encoder, seconds, lambda name: status.update(f"measuring {name}")):
            rows.append(measured)
            if as_json:
                print(json.dumps(asdict(measured)), flush=True)
    if not as_json:
        out.print(table(rows))
        rate = next(row.tokens_per_second for row in rows if row.workload == PASSAGES)
        out.print(f"At {rate:,.0f} tokens a second a million passages of 128 tokens take {MILLION / rate / 3600:,.1f} hours.")


def measure_all(encoder: Encoder, seconds: float, starting: Callable[[str], None]) -> Iterator[Measured]:
    """A row for each workload; `starting` is told its name before."""
    for workload in workloads(encoder.max_tokens):
        starting(workload.name)
        yield measure(encoder, workload, texts_of(encoder, workload.lengths, words()), seconds)


def measure(encoder: Encoder, workload: Workload, texts: list[str], seconds: float) -> Measured:
    """Encode the texts again and again for so many seconds, and at least once; what comes only once is done before."""
    task = workload.task if workload.task in encoder.tasks else None
    encoder.encode(texts[:1], task=task)  # loads the adapter
    took: list[float] = []
    while not took or sum(took) < seconds:
        usage, start = Usage(), time.perf_counter()
        encoder.encode(texts, task=task, late_chunking=workload.late, usage=usage)
        took.append(time.perf_counter() - start)
    p50, p99 = np.percentile(took, [50, 99])
    return Measured(
        workload=workload.name,
        texts=len(texts),
        tokens=usage.tokens,
        calls=len(took),
        p50_ms=float(p50) * 1e3,
        p99_ms=float(p99) * 1e3,
        tokens_per_second=float(usage.tokens / p50),
        texts_per_second=float(len(texts) / p50),
    )


def table(rows: Sequence[Measured]) -> Table:
    """The rows for people."""
    right = [Column(name, justify="right") for name in ("texts", "tokens", "p50 / p99 of a call", "tokens a second")]
    made = Table("", *right)
    for row in rows:
        made.add_row(
            row.workload,
            f"{row.texts:,}",
            f"{row.tokens:,}",
            f"{row.p50_ms:,.1f} / {row.p99_ms:,.1f} ms",
            f"{row.tokens_per_second:,.0f}",
        )
    return made
