"""Which device and dtype to run on, and how many tokens a batch may have there. Knows torch, not the model."""

import os
import time
from functools import cache

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "int8": torch.int8}

# A CPU batch should fit its caches (512 to 4096 tokens measured alike, benchmarks/README.md), a GPU's should fill the chip.
MAX_BATCH_TOKENS = {"cpu": 2048, "mps": 8192, "cuda": 16384}


_process: int | None = None


def check_process() -> None:
    """Raise RuntimeError in a fork of the process that loaded the first model: torch would hang, its threads do not survive."""
    global _process
    _process = _process or os.getpid()
    if _process != os.getpid():
        raise RuntimeError(
            f"process {os.getpid()} was forked from {_process} after a model was loaded there, and torch would hang here: start "
            "workers with the 'spawn' method, or load the first model only after the fork"
        )


def choose_device(device: str | torch.device | None) -> torch.device:
    """The requested device, else CUDA, else MPS, else the CPU; raises ValueError for one that is not there."""
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError):
        raise ValueError(f"device {device!r} is not one torch knows: use 'cpu', 'mps', 'cuda' or 'cuda:1'") from None
    present = {"cpu": 1, "mps": int(torch.backends.mps.is_available()), "cuda": torch.cuda.device_count()}
    count = present.get(chosen.type, 0)
    if (chosen.index or 0) >= count:
        raise ValueError(
            f"device {str(chosen)!r} is not available: torch {torch.__version__} sees "
            f"{', '.join(f'{number} {kind}' for kind, number in present.items())}; leave device out to have it chosen"
        )
    if chosen.type == "cuda" and chosen.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return chosen


def choose_dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    """The requested dtype, else the fastest one that keeps the vectors: bfloat16 if the device computes in it.

    int8 is that of the weights, for CPUs only, and has to be requested: it changes the vectors (README, "Speed").
    """
    chosen = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if chosen is torch.int8 and device.type != "cpu":
        raise ValueError(f"dtype 'int8' runs on CPUs, not on {str(device)!r}: leave dtype out, or use 'bfloat16' or 'float16'")
    if chosen is not None and chosen in DTYPES.values():
        return chosen
    if dtype is not None:
        raise ValueError(f"dtype {dtype!r} is not supported: use one of {', '.join(DTYPES)}, or None for the fastest")
    if device.type == "cuda":
        with torch.cuda.device(device):  # the check below is about the current card
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return activation_dtype(torch.int8) if device.type == "cpu" else torch.float32


def activation_dtype(dtype: torch.dtype) -> torch.dtype:
    """What layers hand to each other: the dtype itself, for int8 the fastest of the CPU."""
    if dtype is not torch.int8:
        return dtype
    return torch.bfloat16 if bfloat16_is_fast() else torch.float32


def release_cache(device: torch.device) -> None:
    """Give the memory that torch keeps for later back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


@cache
def bfloat16_is_fast() -> bool:
    """Whether this CPU multiplies bfloat16 clearly faster than float32, by a probe of some 50 milliseconds.

    Feature flags do not tell: torch reports AMX under a lower ONEDNN_MAX_CPU_ISA, where bfloat16 is far slower. On one thread, in
    turns and by the best of each, so that a busy machine gives the same answer.
    """
    threads = torch.get_num_threads()
    best = dict.fromkeys((torch.bfloat16, torch.float32), float("inf"))
    deadline = time.perf_counter() + 0.05
    try:
        torch.set_num_threads(1)
        for turn in range(20):
            for dtype in best:
                seconds = matmul_seconds(dtype)
                if turn:  # the first one also generates the kernel
                    best[dtype] = min(best[dtype], seconds)
            is_late = turn >= 3 and time.perf_counter() > deadline
            if is_late or (turn and best[torch.bfloat16] > 3 * best[torch.float32]):
                break
    finally:
        torch.set_num_threads(threads)
    return best[torch.bfloat16] * 1.3 < best[torch.float32]


def matmul_seconds(dtype: torch.dtype) -> float:
    """Wall-clock time of one layer-sized product."""
    left, right = torch.ones(64, 1024, dtype=dtype), torch.ones(1024, 1024, dtype=dtype)
    start = time.perf_counter()
    torch.nn.functional.linear(left, right)
    return time.perf_counter() - start
