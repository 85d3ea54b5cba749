"""Tokens per second on texts of mixed lengths: taskvec against sentence-transformers on the same random full-width weights.

    python benchmarks/encode.py [--layers 24] [--texts 48] [--repeats 3] [--json FILE]

One process, one set of weights. sentence-transformers is swept over batch sizes 1 to 32 in float32 and bfloat16 (transformers 5
takes the dtype of the checkpoint: bfloat16 for the published weights, float32 was the default before); then its default of 32
in both, its best three, transformers' own model driven packed, taskvec and the bare matrix products run interleaved, and the
medians are printed. Nothing is asserted here.
"""

import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
import typer
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from checkpoints import CORPUS, Shape, random_weights, write_native
from taskvec import Encoder
from taskvec.devices import bfloat16_is_fast
from taskvec.packing import TokenSequence, pack

BATCH_SIZES = (1, 2, 4, 8, 16, 32)

Run = Callable[[], object]


def mixed_texts(encoder: Encoder, count: int) -> list[str]:
    """Texts whose token counts are log-normal around a median of 100."""
    words = CORPUS.split()
    per_word = encoder.count_tokens(" ".join(words))[0] / len(words)
    generator = np.random.default_rng(1)
    lengths = np.exp(generator.normal(np.log(100), 0.8, count)).clip(8, 1024) / per_word
    return [" ".join(generator.choice(words, max(1, int(length)))) for length in lengths]


def sentence_transformer(folder: Path, dtype: torch.dtype) -> Any:
    """The peer as its users have it: transformers' model, mean pooling, normalisation."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer

    transformer = Transformer(str(folder), model_kwargs={"dtype": dtype})
    pooling = Pooling(transformer.get_embedding_dimension(), "mean")
    return SentenceTransformer(modules=[transformer, pooling, Normalize()], device="cpu")


def packed_transformers(folder: Path, dtype: torch.dtype, encoder: Encoder) -> Callable[[Sequence[str]], None]:
    """transformers' own class over the same packed batches, by a registered attention function: what our forward replaces."""
    from transformers import JinaEmbeddingsV3Model
    from transformers.masking_utils import AttentionMaskInterface
    from transformers.modeling_utils import AttentionInterface

    def attend(module: Any, q: Any, k: Any, v: Any, mask: Any, *, lengths: Any, **rest: Any) -> Any:
        parts = zip(*(x.split(lengths, dim=2) for x in (q, k, v)), strict=True)
        return torch.cat([F.scaled_dot_product_attention(*part) for part in parts], 2).transpose(1, 2), None

    AttentionInterface.register("packed", attend)
    AttentionMaskInterface.register("packed", lambda *args, **kwargs: None)
    model = JinaEmbeddingsV3Model.from_pretrained(folder, dtype=dtype, add_pooling_layer=False).eval()
    model.set_attn_implementation("packed")

    def run(texts: Sequence[str]) -> None:
        ids = encoder._tokenizer.encode(texts, "")
        for batch in pack([TokenSequence.whole(one, row) for row, one in enumerate(ids)], encoder.max_batch_tokens):
            packed = batch.to(torch.device("cpu"))
            with torch.inference_mode():
                lengths = list(packed.lengths)
                states = model(input_ids=packed.ids[None], position_ids=packed.positions[None], lengths=lengths)
                F.embedding_bag(packed.pool_tokens, states.last_hidden_state[0].float(), packed.pool_starts, mode="mean")

    return run


def bare_matmuls(shape: Shape, dtype: torch.dtype, tokens: int, batch: int) -> Run:
    """The matrix products of the layers alone, for as many tokens as the texts have."""
    width, inner = shape.width, shape.inner
    sizes = ((3 * width, width), (width, width), (inner, width), (width, inner))
    layers = [[torch.randn(size, dtype=dtype) for size in sizes] for _ in range(shape.layers)]
    inputs = {columns: torch.randn(batch, columns, dtype=dtype) for _, columns in sizes}

    def run() -> None:
        with torch.inference_mode():
            for start in range(0, tokens, batch):
                rows = min(batch, tokens - start)
                for weights in layers:
                    for weight in weights:
                        F.linear(inputs[weight.shape[1]][:rows], weight)

    return run


def seconds(run: Run) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(runs: Mapping[str, Run], repeats: int) -> dict[str, float]:
    """Median seconds of each run, the repetitions interleaved so that a noisy moment hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            times[name].append(seconds(run))
    return {name: statistics.median(values) for name, values in times.items()}


def report(seconds_by_name: dict[str, float], tokens: int, limit: str, ours: str) -> list[dict[str, Any]]:
    """A table of tokens per second, ratio of taskvec to each row, and share of the matrix products' rate."""
    table = Table("", "tokens/s", "taskvec is x times as fast", "share of the bare products")
    rows = []
    for name, taken in seconds_by_name.items():
        ratio, share = taken / seconds_by_name[ours], seconds_by_name[limit] / taken
        rows.append({"name": name, "tokens_per_second": tokens / taken, "ratio": ratio, "share": share})
        table.add_row(name, f"{tokens / taken:.0f}", f"{ratio:.2f}", f"{share:.0%}")
    Console(width=140).print(table)
    return rows


def main(
    layers: int = 24,
    texts: int = 48,
    repeats: int = 3,
    json_file: Annotated[Path | None, typer.Option("--json", help="write all rows there")] = None,
) -> None:
    """Write random weights, sweep the peer, measure the finalists, print and save."""
    warnings.simplefilter("ignore")
    shape = Shape(width=1024, layers=layers, heads=16, inner=4096, vocab=250_002)
    with tempfile.TemporaryDirectory() as name:
        folder = write_native(Path(name) / "model", random_weights(shape), torch.bfloat16)
        rows = compare(folder, shape, texts, repeats)
    if json_file:
        json_file.write_text(json.dumps(rows, indent=1))


def compare(folder: Path, shape: Shape, count: int, repeats: int) -> list[dict[str, Any]]:
    """All rows of the table for one set of weights."""
    fast = torch.bfloat16 if bfloat16_is_fast() else torch.float32
    dtypes = {str(dtype).removeprefix("torch."): dtype for dtype in dict.fromkeys((torch.float32, fast))}
    encoders = {name: Encoder.from_pretrained(folder, dtype=dtype, device="cpu") for name, dtype in dtypes.items()}
    ours = next(reversed(encoders.values()))
    texts = mixed_texts(ours, count)
    tokens = sum(ours.count_tokens(texts))
    print(f"{len(texts)} texts, {tokens} tokens, {shape.layers} layers, {torch.get_num_threads()} threads", flush=True)

    peers = {name: sentence_transformer(folder, dtype) for name, dtype in dtypes.items()}
    sweep: dict[str, Run] = {
        f"sentence-transformers, {name}, batch {size}": partial(peer.encode, texts, batch_size=size, show_progress_bar=False)
        for name, peer in peers.items()
        for size in BATCH_SIZES
    }
    for peer in peers.values():
        peer.encode(texts[:2])
    swept = measure(sweep, 1)
    for name, taken in swept.items():
        print(f"  {name}: {tokens / taken:.0f} tokens/s", flush=True)
    finalists: dict[str, Run] = {
        f"taskvec, {name}": partial(encoder.encode, texts, task=None) for name, encoder in encoders.items()
    }
    finalists |= {name: sweep[name] for name in sorted(swept, key=lambda name: swept[name])[:3]}
    finalists |= {f"{name} (default)": sweep[name] for name in sweep if name.endswith("batch 32")}
    packed = packed_transformers(folder, fast, ours)
    finalists[f"transformers' model, packed by us, {list(dtypes)[-1]}"] = lambda: packed(texts)
    limit = f"bare matrix products, {list(dtypes)[-1]}"
    finalists[limit] = bare_matmuls(shape, fast, tokens, ours.max_batch_tokens)
    for run in [finalists[f"taskvec, {name}"] for name in dtypes]:
        run()
    difference = np.abs(encoders["float32"].encode(texts, task=None) - peers["float32"].encode(texts)).max()
    print(f"largest difference to sentence-transformers in float32: {difference:.1e}", flush=True)
    return report(measure(finalists, repeats), tokens, limit, f"taskvec, {list(dtypes)[-1]}")


if __name__ == "__main__":
    typer.run(main)
