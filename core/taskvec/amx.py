"""Kernels of our own for CPUs with AMX: where they can be had; how attention.c is called. Knows tensors, no model."""

import ctypes
import logging
import os
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from taskvec import native
from taskvec.packing import PackedTensors

SOURCE = Path(__file__).with_name("attention.c")
HEAD_DIMS = (32, 64)
NEEDED = ("amx_tile", "amx_bf16", "avx512_f", "avx512_bw", "avx512_dq", "avx512_vl", "avx512_bf16")
FLAGS = (
    "-O3", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512bf16", "-mamx-tile", "-mamx-bf16", "-mfma",
    "-mprefer-vector-width=512",
)  # fmt: skip
PERMISSION = (158, 0x1023, 18)  # arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA on x86-64
ALONE = 32  # tokens up to which waking other threads costs more than it saves

log = logging.getLogger("taskvec")


class Kernel(NamedTuple):
    """The compiled library, and what starts the threads of torch's own OpenMP: those of a second one would fight with them."""

    library: ctypes.CDLL
    parallel: ctypes.c_void_p

    def __call__(self, qkv: Tensor, cos: Tensor, sin: Tensor, batch: PackedTensors) -> Tensor:
        """qkv (T, 3, heads, head_dim), cos (T, 1, 1, head_dim), sin half as wide, all bfloat16 -> (T, heads, head_dim)."""
        tokens, _, heads, head_dim = qkv.shape
        qkv, cos, sin = qkv.contiguous(), cos.contiguous(), sin.contiguous()
        threads = torch.get_num_threads() if tokens > ALONE else 1
        longest = max(batch.lengths)
        space = torch.empty(threads * self.library.taskvec_space(longest), dtype=torch.uint8)
        out = torch.empty(tokens, heads, head_dim, dtype=torch.bfloat16)
        pointers = [x.data_ptr() for x in (qkv, cos, sin, out, batch.cu_seqlens, space)]
        self.library.taskvec_attention(*pointers, len(batch.lengths), heads, longest, threads, self.parallel)
        return out


@cache
def kernel(head_dim: int) -> Kernel | None:
    """The kernel for heads of this width, or None where it cannot be had."""
    found = open_library(SOURCE, NEEDED, (*FLAGS, f"-DDIM={head_dim}")) if head_dim in HEAD_DIMS else None
    if found is None:
        return None
    library, parallel = found
    library.taskvec_space.restype = ctypes.c_size_t
    library.taskvec_attention.argtypes = [ctypes.c_void_p] * 6 + [ctypes.c_int] * 4 + [ctypes.c_void_p]
    return Kernel(library, parallel)


def open_library(source: Path, needed: Sequence[str], flags: Sequence[str]) -> tuple[ctypes.CDLL, ctypes.c_void_p] | None:
    """A compiled file and GOMP_parallel, or None where the CPU, system, compiler or torch do not have what it takes.

    TASKVEC_NATIVE=0 turns it off.
    """
    has: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older versions of torch lack it
    fits = sys.platform == "linux" and all(has.get(name) for name in needed)
    if not fits or os.environ.get("TASKVEC_NATIVE") == "0":
        return None
    library = native.load(source, flags)
    if library is None:
        return None
    try:
        # It is loaded already, so its name is enough; what it depends on is searched, too.
        parallel = ctypes.cast(ctypes.CDLL("libtorch_cpu.so").GOMP_parallel, ctypes.c_void_p)
    except (AttributeError, OSError) as error:
        log.info("taskvec: torch does the work of %s, its OpenMP cannot be shared: %s", source.name, error)
        return None
    if not lent():
        log.info("taskvec: torch does the work of %s, the system does not lend AMX", source.name)
        return None
    return library, parallel


def lent() -> bool:
    """Ask Linux for the tiles of AMX, for all threads of this process.

    Source: https://docs.kernel.org/arch/x86/xstate.html
    """
    return not ctypes.CDLL(None).syscall(*PERMISSION)
