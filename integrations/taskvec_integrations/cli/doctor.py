"""`taskvec doctor`: what this machine has, whether the model works on it, how fast it is, and what to do about what is wrong."""

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
from taskvec_integrations.cli.doctor_machine import Finding, check_machine
from taskvec_integrations.cli.published_vectors import TOLERANCES, max_deviation
from taskvec_integrations.lazy_encoder import LazyEncoder

STYLES = {"ok": "green", "note": "yellow", "broken": "bold red"}
QUERY = "How do I reset the password of my account?"
SENTENCE = "The river rises in the hills, crosses the old town and reaches the sea after three days. "
SENTENCES = (1, 2, 3, 4, 6, 8, 10, 12)
"""How many sentences each text has: some 20 to 250 tokens."""
QUERY_CALLS = 15
THROUGHPUT_SECONDS = 1.0
"""How long tokens a second are measured, at least one call."""
SLOW_QUERY_SECONDS = 0.2
JINA_DIMENSIONS = 1024
"""The width of jina-embeddings-v3, which a folder may hold."""


def run(lazy: LazyEncoder, device: str | None, dtype: str | None, out: Console) -> bool:
    """Print every finding as it is made, up to the first one that is broken.

    Args:
        lazy: The model.
        device: The device that was asked for; None has one chosen.
        dtype: The dtype that was asked for; None has one chosen.
        out: Where to print.

    Returns:
        Whether everything works.
    """
    for finding in chain(check_machine(device, dtype), check_model(lazy)):
        table = Table.grid(Column(width=7), Column(width=10), Column(), padding=(0, 1))
        text = Text(finding.summary)
        if finding.advice:
            text.append(f"\n→ {finding.advice}", style=STYLES[finding.state] if finding.state != "ok" else "dim")
        table.add_row(Text(finding.state, style=STYLES[finding.state]), finding.name, text)
        out.print(table)
        if finding.state == "broken":  # later findings would only repeat it
            return False
    out.print("Everything works.")
    return True


def check_model(lazy: LazyEncoder) -> Iterator[Finding]:
    """Whether the model loads, whether its vectors are right, how fast it is."""
    start = time.perf_counter()
    try:
        encoder = lazy.get()
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        yield Finding("model", str(error), "broken", "taskvec models lists the models; --model mini needs no download")
        return
    seconds = time.perf_counter() - start
    summary = (
        f"{encoder.model_id} loaded in {seconds:.1f} s: {encoder.dimensions} dimensions, {encoder.max_tokens} tokens of context"
    )
    missing = [task for task in Task if task not in encoder.tasks]
    advice = f"it has no adapter for {', '.join(missing)}, which cannot be used" if missing else ""
    yield Finding("model", summary, "note" if missing else "ok", advice)
    yield check_vectors(encoder)
    yield check_published_vectors(encoder)
    yield from check_speed(encoder)


def check_vectors(encoder: Encoder) -> Finding:
    """Whether texts have the same vectors packed together as alone, of unit length."""
    texts = [SENTENCE * count + str(count) for count in SENTENCES]
    task = next(iter(encoder.tasks), None)
    together, alone = encoder.encode(texts, task=task), np.stack([encoder.encode(text, task=task) for text in texts])
    worst = float((together * alone).sum(axis=1).min())
    if np.isfinite(together).all() and np.isfinite(alone).all() and worst > 0.999:
        return Finding("vectors", f"the same together as alone (cosine {worst:.5f} at least), of unit length")
    advice = "try --dtype float32 and --device cpu, update torch, and report this output"
    return Finding("vectors", f"those of texts encoded together and alone differ: a cosine of {worst:.5f}", "broken", advice)


def check_published_vectors(encoder: Encoder) -> Finding:
    """Whether the real weights give the published vectors."""
    by_jina = encoder.model_id in JINA_MODELS
    if not by_jina and (encoder.dimensions, len(encoder.tasks)) != (JINA_DIMENSIONS, len(Task)):
        return Finding("published", f"there are no published values of {encoder.model_id}")
    worst, allowed = max_deviation(encoder), TOLERANCES[encoder.dtype]
    dtype = str(encoder.dtype).removeprefix("torch.")
    summary = f"values differ from the published ones by {worst:.1e} at most; {allowed:.0e} is within {dtype}"
    if worst <= allowed:
        return Finding("published", summary)
    if not by_jina:
        return Finding("published", summary, "note", "if these are Jina's weights, compare --dtype float32")
    advice = "try --dtype float32: if that differs too, the weights or torch's kernels are at fault; please report it"
    return Finding("published", summary, "broken", advice)


def check_speed(encoder: Encoder) -> Iterator[Finding]:
    """The latency of a short query and the throughput of mixed texts."""
    query, passage = ((task if task in encoder.tasks else None) for task in (Task.RETRIEVAL_QUERY, Task.RETRIEVAL_PASSAGE))
    encoder.encode(QUERY, task=query)
    durations = []
    for _ in range(QUERY_CALLS):
        start = time.perf_counter()
        encoder.encode(QUERY, task=query)
        durations.append(time.perf_counter() - start)
    slow = median(durations) > SLOW_QUERY_SECONDS
    advice = "if nothing else keeps this machine busy: use a GPU (--device cuda), or the model mini where English is enough"
    yield Finding(
        "query",
        f"{median(durations) * 1e3:.1f} ms for a short one (median of {QUERY_CALLS})",
        "note" if slow else "ok",
        advice if slow else "",
    )
    texts = [SENTENCE * count for count in SENTENCES]
    encoder.encode(texts, task=passage)
    usage, start = Usage(), time.perf_counter()
    while not usage.tokens or time.perf_counter() - start < THROUGHPUT_SECONDS:
        encoder.encode(texts * max(1, encoder.max_batch_tokens // 1000), task=passage, usage=usage)
    rate = usage.tokens / (time.perf_counter() - start)
    yield Finding("throughput", f"{rate:,.0f} tokens a second: {rate * 3600 / 512:,.0f} chunks of 512 tokens an hour")
