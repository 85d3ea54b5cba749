"""What serving costs: throughput beside the library's on the same core, and the latency of short queries under bulk load.

    python benchmarks/serve.py [--model FOLDER] [--seconds 20] [--json FILE]

The server has one core and one thread, the clients have another. Library and server take turns over the same requests, so that a
busy machine slows both; the figures are medians over the rounds.
"""

import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from pydoc_data.topics import topics
from typing import Annotated, Any

import httpx
import numpy as np
import orjson
import typer
from rich.console import Console
from rich.table import Table

CLIENTS = 64
TASKS = ("retrieval.query", "retrieval.passage", "text-matching", "classification")
WORDS = 5000
TOKENS_PER_WORD = 1.3
ROOT = Path(__file__).parents[1]

Request = dict[str, Any]


def words() -> list[str]:
    """Words of Python's language reference."""
    return re.findall(r"[a-z]+", " ".join(topics.values()))[:WORDS]


def mixed_requests(count: int, seed: int = 1) -> list[Request]:
    """Requests of 1 to 32 texts of log-normal length (median 60 words), any task, size and format, a tenth late-chunked."""
    rng, vocabulary = np.random.default_rng(seed), words()
    requests = []
    for number in range(count):
        lengths = np.clip(rng.lognormal(np.log(60), 0.6, rng.integers(1, 33)), 1, 400).astype(int)
        requests.append(
            {
                "model": "jina-embeddings-v3",
                "input": [" ".join(rng.choice(vocabulary, length)) for length in lengths],
                "task": str(rng.choice(TASKS)),
                "dimensions": int(rng.choice([32, 128, 256, 384])),
                "embedding_type": str(rng.choice(["float", "base64"])),
                "late_chunking": number % 10 == 0,
            }
        )
    return requests


@contextmanager
def served(model: str, core: int, *options: str) -> Iterator[str]:
    """A server in a process of its own on one core."""
    with tempfile.TemporaryFile("w+") as log:
        command = [sys.executable, "-m", "taskvec_integrations.cli", "serve", "--model", model, "--port", "0", *options]
        process = subprocess.Popen(
            command,
            stderr=log,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
        try:
            while True:
                log.seek(0)
                if found := re.search(r"open (http://[\d.:]+)", log.read()):
                    break
                if process.poll() is not None:
                    raise RuntimeError("the server did not start")
                time.sleep(0.1)
            yield found[1]
        finally:
            process.terminate()
            process.wait()


async def drive(url: str, bodies: list[bytes], seconds: float, clients: int) -> tuple[float, list[float]]:
    """Tokens a second that so many clients get out of a server, and the latency of each request."""
    latencies: list[float] = []
    tokens = 0
    source = cycle(bodies)
    end = time.perf_counter() + seconds
    limits = httpx.Limits(max_connections=clients)

    async def client(http: httpx.AsyncClient) -> None:
        nonlocal tokens
        while time.perf_counter() < end:
            start = time.perf_counter()
            answer = await http.post("/v1/embeddings", content=next(source), headers={"content-type": "application/json"})
            answer.raise_for_status()
            latencies.append(time.perf_counter() - start)
            found = re.search(rb'"total_tokens":(\d+)', answer.content)
            assert found
            tokens += int(found[1])

    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as http:
        start = time.perf_counter()
        await asyncio.gather(*(client(http) for _ in range(clients)))
        return tokens / (time.perf_counter() - start), latencies


LIBRARY = """
import os, sys, time, json
os.sched_setaffinity(0, {CORE})
import torch
torch.set_num_threads(1)
from taskvec import Encoder, Usage, quantize
requests = json.load(open(sys.argv[2]))
encoder = Encoder.from_pretrained(sys.argv[1])
by_task = {}
for request in requests:
    by_task.setdefault(request["task"], []).append(request)
for line in sys.stdin:  # one round a line
    usage, start = Usage(), time.perf_counter()
    while time.perf_counter() - start < float(line):
        for task, group in by_task.items():
            plain = [text for request in group if not request["late_chunking"] for text in request["input"]]
            encoder.encode(plain, task=task, usage=usage)
            late = [request["input"] for request in group if request["late_chunking"]]
            encoder.encode_chunks(late, task=task, usage=usage)
    print(usage.tokens / (time.perf_counter() - start), flush=True)
"""
"""The library at its best over the same texts: all of a task at once, no HTTP."""


@contextmanager
def library(model: str, requests: list[Request], core: int) -> Iterator[Callable[[float], float]]:
    """A function that runs the library on one core for so many seconds and gives its tokens a second."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(requests, file)
        file.flush()
        command = [sys.executable, "-c", LIBRARY.replace("CORE", str(core)), model, file.name]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        told, said = process.stdin, process.stdout
        assert told
        assert said

        def run(seconds: float) -> float:
            told.write(f"{seconds}\n")
            told.flush()
            return float(said.readline())

        try:
            yield run
        finally:
            process.kill()
            process.wait()


def percentile(latencies: list[float], share: float) -> float:
    """In milliseconds."""
    return float(np.percentile(latencies, share) * 1000)


async def under_load(url: str, queries: list[bytes], bulk: list[bytes], seconds: float) -> list[float]:
    """Latencies of one client's queries while four others index without pause."""
    loading = asyncio.ensure_future(drive(url, bulk, seconds, 4))
    await asyncio.sleep(0.5)
    _, latencies = await drive(url, queries, seconds - 1, 1)
    await loading
    return latencies


def main(
    model: Annotated[str, typer.Option(help="A hub id, a folder or mini.")] = "mini",
    seconds: Annotated[float, typer.Option(help="Of each measurement.")] = 10,
    rounds: Annotated[int, typer.Option(help="How often library and server take turns.")] = 3,
    output: Annotated[Path | None, typer.Option("--json", help="Write the figures here, too.")] = None,
) -> None:
    """Measure and print."""
    os.sched_setaffinity(0, {1})
    requests = mixed_requests(400)
    bodies = [orjson.dumps(request) for request in requests]
    vocabulary = words()
    queries = [
        orjson.dumps({"model": "jina-embeddings-v3", "input": " ".join(vocabulary[i : i + 8]), "task": "retrieval.query"})
        for i in range(0, 4000, 8)
    ]
    passages = [
        orjson.dumps({**request, "task": "retrieval.passage", "late_chunking": False}) for request in mixed_requests(200, 2)
    ]
    figures: dict[str, list[float]] = {
        name: [] for name in ("library", "server", "alone p50", "alone p99", "load p50", "load p99")
    }
    with library(model, requests, 0) as alone, served(model, 0) as url:
        asyncio.run(drive(url, bodies, 3, CLIENTS))
        alone(3)
        for _ in range(rounds):
            figures["library"].append(alone(seconds))
            figures["server"].append(asyncio.run(drive(url, bodies, seconds, CLIENTS))[0])
            _, quiet = asyncio.run(drive(url, queries, seconds / 2, 1))
            loaded = asyncio.run(under_load(url, queries, passages, seconds))
            for name, latencies in (("alone", quiet), ("load", loaded)):
                for share in (50, 99):
                    figures[f"{name} p{share}"].append(percentile(latencies, share))
        batch = batch_milliseconds(url, mixed_requests(200, 2))
    median = {name: statistics.median(values) for name, values in figures.items()}
    table = Table(title=f"{model}, one core for the encoder, {CLIENTS} clients on another")
    table.add_column("")
    table.add_column("median", justify="right")
    table.add_column("all rounds")
    for name, values in figures.items():
        table.add_row(name, f"{median[name]:,.1f}", " ".join(f"{value:,.1f}" for value in values))
    console = Console()
    console.print(table)
    bound = 4 * median["alone p50"] + batch
    console.print(f"server / library: {median['server'] / median['library']:.3f}")
    console.print(
        f"p99 of queries under load {median['load p99']:.1f} ms; 4 x p50 alone + one batch ({batch:.1f} ms) = {bound:.1f} ms"
    )
    if output:
        output.write_text(json.dumps({"model": model, "figures": figures, "batch": batch}))


def batch_milliseconds(url: str, requests: list[Request]) -> float:
    """A full batch of the bulk load's own texts, as long as an idle server takes for it, HTTP included: the median of twenty."""
    limit = httpx.get(f"{url}/info").json()["max_batch_tokens"]
    texts = iter([text for request in requests for text in request["input"]])
    times = []
    for _ in range(20):
        batch: list[str] = []
        while sum(len(text.split()) for text in batch) * TOKENS_PER_WORD < limit:
            batch.append(next(texts))
        body = {"model": "jina-embeddings-v3", "input": batch, "task": "retrieval.passage", "dimensions": 8}
        start = time.perf_counter()
        answer = httpx.post(f"{url}/v1/embeddings", json=body, timeout=60)
        seconds = time.perf_counter() - start
        times.append(seconds * limit / answer.json()["usage"]["total_tokens"])  # a little more or less than a full one
    return float(statistics.median(times)) * 1000


if __name__ == "__main__":
    typer.run(main)
