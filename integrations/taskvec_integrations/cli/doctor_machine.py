"""What `taskvec doctor` finds out without a model: versions, extras, processor, device and dtype, and why they were chosen."""

import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Iterator, Mapping
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
from taskvec_integrations.extras import EXTRAS

PACKAGES = ("torch", "tokenizers", "safetensors", "huggingface-hub", "numpy")
CPU_FEATURES = {"avx2": "AVX2", "avx512_f": "AVX-512", "avx512_vnni": "VNNI", "avx512_bf16": "bfloat16", "amx_bf16": "AMX"}
ATTENTION_NAMES: Mapping[Attention, str] = {
    varlen_attention: "packed flash attention, all lengths in one call",
    amx_attention: "taskvec's kernel for AMX, compiled on this machine",
    aligned_attention: "a call for each length, keys in steps of 16",
    grouped_attention: "a call for each length",
}
HEAD_DIM = 64  # of jina-embeddings-v3


class Finding(NamedTuple):
    """One line of the doctor's output.

    Attributes:
        name: What was looked at.
        summary: What was found.
        state: Whether it is as it should be.
        advice: What to do where it is not.
    """

    name: str
    summary: str
    state: Literal["ok", "note", "broken"] = "ok"
    advice: str = ""


def check_machine(device: str | None, dtype: str | None) -> Iterator[Finding]:
    """Look at everything that needs no model.

    Args:
        device: The device that was asked for; None has one chosen.
        dtype: The dtype that was asked for; None has one chosen.

    Yields:
        The findings; the last one is broken where this machine does not have that device or dtype.
    """
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("taskvec", *PACKAGES)]
    yield Finding("versions", f"Python {platform.python_version()}, {', '.join(versions)}")
    yield check_extras()
    yield check_processor()
    try:
        chosen = choose_device(device)
        used = choose_dtype(dtype, chosen)
    except ValueError as error:
        yield Finding("device", str(error), "broken")
        return
    yield check_device(chosen, device)
    yield check_dtype(chosen, used, dtype)
    activations = activation_dtype(used)
    yield check_attention(choose_attention(chosen, activations, HEAD_DIM), activations)
    if chosen.type == "cpu":
        yield check_layers(used, activations)


def check_layers(weights: torch.dtype, activations: torch.dtype) -> Finding:
    """How the linear layers are computed on a CPU."""
    if weights is torch.int8:
        amx = activations is torch.bfloat16 and amx_int8_works()
        return Finding("layers", "int8 by taskvec's kernel for AMX" if amx else "int8 by oneDNN")
    if packing_works(activations):
        return Finding("layers", "weights packed for oneDNN, GELU and sums fused")
    advice = "vectors are right, only slower; another version of torch may have these operators"
    return Finding("layers", "plain: this torch lacks oneDNN's packed operators", "note", advice)


def check_attention(chosen: Attention, activations: torch.dtype) -> Finding:
    """How attention is computed, and whether it would be faster with a compiler."""
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    if chosen is aligned_attention and activations is torch.bfloat16 and capabilities.get("amx_bf16"):
        off = os.environ.get("TASKVEC_NATIVE") == "0"
        cause = "TASKVEC_NATIVE=0 turns it off" if off else "it needs a C compiler (gcc) and a cache folder that only you own"
        advice = f"taskvec's kernel is 2 to 4 times as fast on AMX: {cause}"
        return Finding("attention", ATTENTION_NAMES[chosen], "note", advice)
    return Finding("attention", ATTENTION_NAMES[chosen])


def check_extras() -> Finding:
    """Which extras are installed."""
    installed = [name for name, modules in EXTRAS.items() if all(map(_is_installed, modules))]
    missing = [name for name in EXTRAS if name not in installed]
    summary = f"{', '.join(installed) or 'none'} installed" + (f"; not {', '.join(missing)}" if missing else "")
    advice = f"install those that you need: pip install 'taskvec[{','.join(missing)}]'" if missing else ""
    return Finding("extras", summary, "ok", advice)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package around it is missing
        return False


def check_processor() -> Finding:
    """Cores, threads and instructions."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = torch.get_num_threads()
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older versions of torch lack it
    features = [shown for name, shown in CPU_FEATURES.items() if capabilities.get(name)]
    features = features or [torch.backends.cpu.get_cpu_capability()]
    name = capabilities.get("cpu_name") or platform.machine()
    summary = f"{name}, {cores} cores, {threads} threads; {', '.join(features)}"
    if threads < cores:
        return Finding("processor", summary, "note", f"only {threads} of {cores} cores are used: is OMP_NUM_THREADS set?")
    if threads > cores:
        return Finding("processor", summary, "note", f"more threads than cores slow each other down: set OMP_NUM_THREADS={cores}")
    return Finding("processor", summary)


def check_device(chosen: torch.device, requested: str | None) -> Finding:
    """The device, and whether a better one is idle."""
    if chosen.type == "cuda":
        card = torch.cuda.get_device_properties(chosen)
        return Finding(
            "device", f"{chosen}: {card.name}, {card.total_memory / 2**30:.0f} GiB, {torch.cuda.device_count()} in all"
        )
    if chosen.type == "cpu" and requested is None and Path("/proc/driver/nvidia").exists():
        advice = f"install a CUDA build of torch (this one is {torch.__version__}): https://pytorch.org/get-started/locally/"
        return Finding("device", "cpu, although this machine has an NVIDIA driver", "note", advice)
    return Finding("device", str(chosen) + ("" if requested else ": torch sees no other"))


def check_dtype(device: torch.device, used: torch.dtype, requested: str | None) -> Finding:
    """The dtype, and why it is used."""
    name = str(used).removeprefix("torch.")
    if requested:
        return Finding("dtype", f"{name}, as asked for")
    if device.type != "cpu":
        return Finding("dtype", f"{name}, the fastest that keeps the vectors on {device.type}")
    float32, bfloat16 = (min(matmul_seconds(one) for _ in range(5)) for one in (torch.float32, torch.bfloat16))
    summary = f"{name}: a product in bfloat16 is {float32 / bfloat16:.1f} times as fast as in float32 here"
    if bfloat16_is_fast():
        return Finding("dtype", summary)
    advice = "--dtype int8 may be faster, at a cosine of .99 to 1 with the exact vectors"
    return Finding("dtype", f"{summary}, which gains too little", "ok", advice)
