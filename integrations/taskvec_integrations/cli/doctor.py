"""`taskvec doctor`: what this machine has, whether the model works on it and how fast, and what to do about what is amiss."""

import time
from collections.abc import Iterator
from itertools import chain
from statistics import median

import numpy as np
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from taskvec import Encoder, Task, Usage
from taskvec.integration import JINA_MODELS
from taskvec_integrations.cli.golden import TOLERANCES, deviation
from taskvec_integrations.cli.machine import Finding, findings
from taskvec_integrations.lazy_encoder import LazyEncoder

STYLES = {"ok": "green", "note": "yellow", "broken": "bold red"}
QUERY = "How do I reset the password of my account?"
SENTENCE = "The river rises in the hills, crosses the old town and reaches the sea after three days. "
REPEATS = (1, 2, 3, 4, 6, 8, 10, 12)  # sentences in a text: some 20 to 250 tokens
QUERIES = 15
SECONDS = 1.0  # for the measurement of tokens a second, at least one round
SLOW_QUERY = 0.2
WIDTH = 1024  # of jina-embeddings-v3, which a folder may hold


def run(lazy: LazyEncoder, device: str | None, dtype: str | None, out: Console) -> bool:
    """Print every finding as it is made, up to one that is broken; gives whether there is none."""
    for finding in chain(findings(device, dtype), model_findings(lazy)):
        table = Table.grid(Column(width=7), Column(width=10), Column(), padding=(0, 1))
        said = Text(finding.said)
        if finding.advice:
            said.append(f"\n→ {finding.advice}", style=STYLES[finding.state] if finding.state != "ok" else "dim")
        table.add_row(Text(finding.state, style=STYLES[finding.state]), finding.name, said)
        out.print(table)
        if finding.state == "broken":  # what comes after it would only say it again
            return False
    out.print("Everything works.")
    return True


def model_findings(lazy: LazyEncoder) -> Iterator[Finding]:
    """Whether the model loads, what its vectors are like, how fast it is."""
    start = time.perf_counter()
    try:
        encoder = lazy.get()
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        yield Finding("model", str(error), "broken", "taskvec models lists the models; --model mini needs no download")
        return
    seconds = time.perf_counter() - start
    said = (
        f"{encoder.model_id} loaded in {seconds:.1f} s: {encoder.dimensions} dimensions, {encoder.max_tokens} tokens of context"
    )
    missing = [task for task in Task if task not in encoder.tasks]
    advice = f"it has no adapter for {', '.join(missing)}, which cannot be used" if missing else ""
    yield Finding("model", said, "note" if missing else "ok", advice)
    yield vectors(encoder)
    yield published(encoder)
    yield from speed(encoder)


def vectors(encoder: Encoder) -> Finding:
    """Whether texts give the same vectors packed together as alone, of unit length."""
    texts = [SENTENCE * repeat + str(repeat) for repeat in REPEATS]
    task = next(iter(encoder.tasks), None)
    together, alone = encoder.encode(texts, task=task), np.stack([encoder.encode(text, task=task) for text in texts])
    worst = float((together * alone).sum(axis=1).min())
    if np.isfinite(together).all() and np.isfinite(alone).all() and worst > 0.999:
        return Finding("vectors", f"the same together as alone (cosine {worst:.5f} at least), of unit length")
    advice = "try --dtype float32 and --device cpu, update torch, and report it with this output"
    return Finding("vectors", f"differ together and alone: a cosine of {worst:.5f}", "broken", advice)


def published(encoder: Encoder) -> Finding:
    """Whether the real weights give the published vectors."""
    published = encoder.model_id in JINA_MODELS
    if not published and (encoder.dimensions, len(encoder.tasks)) != (WIDTH, len(Task)):
        return Finding("golden", f"there are no published values of {encoder.model_id}")
    worst, allowed = deviation(encoder), TOLERANCES[encoder.dtype]
    said = f"published values differ by {worst:.1e} at most, {allowed:.0e} is within {str(encoder.dtype).removeprefix('torch.')}"
    if worst <= allowed:
        return Finding("golden", said)
    if not published:
        return Finding("golden", said, "note", "unless these are other weights than Jina's, compare --dtype float32")
    advice = "try --dtype float32: if that differs too, the weights or torch's kernels are at fault; please report it"
    return Finding("golden", said, "broken", advice)


def speed(encoder: Encoder) -> Iterator[Finding]:
    """The latency of a short query and the throughput of mixed texts."""
    query, passage = ((task if task in encoder.tasks else None) for task in (Task.RETRIEVAL_QUERY, Task.RETRIEVAL_PASSAGE))
    encoder.encode(QUERY, task=query)
    times = []
    for _ in range(QUERIES):
        start = time.perf_counter()
        encoder.encode(QUERY, task=query)
        times.append(time.perf_counter() - start)
    slow = median(times) > SLOW_QUERY
    advice = "if nothing else keeps this machine busy: use a GPU (--device cuda), or the model mini where English is enough"
    yield Finding(
        "query",
        f"{median(times) * 1e3:.1f} ms for a short one (median of {QUERIES})",
        "note" if slow else "ok",
        advice if slow else "",
    )
    texts = [SENTENCE * repeat for repeat in REPEATS]
    encoder.encode(texts, task=passage)
    usage, start = Usage(), time.perf_counter()
    while not usage.tokens or time.perf_counter() - start < SECONDS:
        encoder.encode(texts * max(1, encoder.max_batch_tokens // 1000), task=passage, usage=usage)
    rate = usage.tokens / (time.perf_counter() - start)
    yield Finding("throughput", f"{rate:,.0f} tokens a second: {rate * 3600 / 512:,.0f} chunks of 512 tokens an hour")
