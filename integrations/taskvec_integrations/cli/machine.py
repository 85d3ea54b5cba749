"""What `taskvec doctor` finds without a model: versions, extras, processor, device, dtype, and why they were chosen."""

import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from taskvec.attention import (
    Attention,
    aligned_attention,
    amx_attention,
    choose_attention,
    grouped_attention,
    varlen_attention,
)
from taskvec.devices import activation_dtype, bfloat16_is_fast, choose_device, choose_dtype, matmul_seconds
from taskvec.kernels.linear import amx_int8_works
from taskvec.linear import packing_works

PACKAGES = ("torch", "tokenizers", "safetensors", "huggingface-hub", "numpy")
EXTRAS: Mapping[str, Sequence[str]] = {
    "qdrant": ("qdrant_client", "semchunk", "tenacity"),
    "milvus": ("pymilvus", "ml_dtypes", "semchunk", "tenacity"),
    "pinecone": ("pinecone", "orjson", "semchunk", "tenacity"),
    "haystack": ("haystack",),
    "llama-index": ("llama_index.core",),
    "server": ("fastapi", "uvicorn", "orjson", "prometheus_client", "pydantic_settings"),
    "ray": ("ray",),
    "parquet": ("pyarrow",),
}
"""The extras of the distribution, and what each of them brings."""
FEATURES = {"avx2": "AVX2", "avx512_f": "AVX-512", "avx512_vnni": "VNNI", "avx512_bf16": "bfloat16", "amx_bf16": "AMX"}
ATTENTION: Mapping[Attention, str] = {
    varlen_attention: "packed flash attention, all lengths in one call",
    amx_attention: "taskvec's own for AMX, compiled on this machine",
    aligned_attention: "a call for each length, keys in steps of 16",
    grouped_attention: "a call for each length",
}
HEAD_DIM = 64  # of jina-embeddings-v3


class Finding(NamedTuple):
    """What was found, whether it is as it should be, and what to do where it is not."""

    name: str
    said: str
    state: Literal["ok", "note", "broken"] = "ok"
    advice: str = ""


def findings(device: str | None, dtype: str | None) -> Iterator[Finding]:
    """All of them; the last one is broken where a device or dtype was asked for that is not there."""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("taskvec", *PACKAGES)]
    yield Finding("versions", f"Python {platform.python_version()}, {', '.join(versions)}")
    yield extras()
    yield processor()
    try:
        chosen = choose_device(device)
        used = choose_dtype(dtype, chosen)
    except ValueError as error:
        yield Finding("device", str(error), "broken")
        return
    yield where(chosen, device)
    yield numbers(chosen, used, dtype)
    activations = activation_dtype(used)
    yield attention(choose_attention(chosen, activations, HEAD_DIM), activations)
    if chosen.type == "cpu":
        yield layers(used, activations)


def layers(used: torch.dtype, activations: torch.dtype) -> Finding:
    """How the linear layers are computed on a CPU."""
    if used is torch.int8:
        own = activations is torch.bfloat16 and amx_int8_works()
        return Finding("layers", "int8 by taskvec's own kernel for AMX" if own else "int8 by oneDNN")
    if packing_works(activations):
        return Finding("layers", "weights packed for oneDNN, GELU and sums fused")
    advice = "another version of torch may have them: vectors are right, only slower"
    return Finding("layers", "plain: this torch lacks oneDNN's packed operators", "note", advice)


def attention(chosen: Attention, activations: torch.dtype) -> Finding:
    """How attention is computed, and whether a compiler is all that is missing to have it faster."""
    has: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    if chosen is aligned_attention and activations is torch.bfloat16 and has.get("amx_bf16"):
        off = os.environ.get("TASKVEC_NATIVE") == "0"
        cause = "TASKVEC_NATIVE=0 turns it off" if off else "it needs a C compiler (gcc) and a cache folder that is only yours"
        advice = f"taskvec's own is 2 to 4 times as fast on AMX: {cause}"
        return Finding("attention", ATTENTION[chosen], "note", advice)
    return Finding("attention", ATTENTION[chosen])


def extras() -> Finding:
    """Which extras are there."""
    there = [name for name, modules in EXTRAS.items() if all(map(_is_there, modules))]
    missing = [name for name in EXTRAS if name not in there]
    said = f"{', '.join(there) or 'none'} installed" + (f"; not {', '.join(missing)}" if missing else "")
    return Finding("extras", said, "ok", f"what you need of them: pip install 'taskvec[{','.join(missing)}]'" if missing else "")


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a package around it
        return False


def processor() -> Finding:
    """Cores, threads and instructions."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = torch.get_num_threads()
    known: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older versions of torch lack it
    has = [shown for name, shown in FEATURES.items() if known.get(name)] or [torch.backends.cpu.get_cpu_capability()]
    said = f"{known.get('cpu_name') or platform.machine()}, {cores} cores, {threads} threads; {', '.join(has)}"
    if threads < cores:
        return Finding("processor", said, "note", f"only {threads} of {cores} cores are used: is OMP_NUM_THREADS set?")
    if threads > cores:
        return Finding("processor", said, "note", f"more threads than cores slow each other down: set OMP_NUM_THREADS={cores}")
    return Finding("processor", said)


def where(chosen: torch.device, asked: str | None) -> Finding:
    """The device, and whether a better one lies idle."""
    if chosen.type == "cuda":
        card = torch.cuda.get_device_properties(chosen)
        return Finding(
            "device", f"{chosen}: {card.name}, {card.total_memory / 2**30:.0f} GiB, {torch.cuda.device_count()} in all"
        )
    if chosen.type == "cpu" and asked is None and Path("/proc/driver/nvidia").exists():
        advice = f"install a CUDA build of torch (this one is {torch.__version__}): https://pytorch.org/get-started/locally/"
        return Finding("device", "cpu, although this machine has an NVIDIA driver", "note", advice)
    return Finding("device", str(chosen) + ("" if asked else ": torch sees no other"))


def numbers(device: torch.device, used: torch.dtype, asked: str | None) -> Finding:
    """The dtype, and why."""
    name = str(used).removeprefix("torch.")
    if asked:
        return Finding("dtype", f"{name}, as asked for")
    if device.type != "cpu":
        return Finding("dtype", f"{name}, the fastest that keeps the vectors on {device.type}")
    best = [min(matmul_seconds(one) for _ in range(5)) for one in (torch.float32, torch.bfloat16)]
    ratio = best[0] / best[1]
    said = f"a product in bfloat16 is {ratio:.1f} times as fast as in float32 here"
    if bfloat16_is_fast():
        return Finding("dtype", f"{name}: {said}")
    return Finding(
        "dtype", f"{name}: {said}, too little to gain from", "ok", "--dtype int8 may be faster, at a cosine of .99 to 1"
    )
