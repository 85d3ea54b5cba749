"""How attention.c is called: RoPE and attention in one pass, in bfloat16 on CPUs with AMX. Knows tensors, no model."""

import ctypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from taskvec.kernels.library import AMX_CAPABILITIES, AMX_FLAGS, KernelLibrary, open_library
from taskvec.packing import PackedTensors

SOURCE = Path(__file__).with_name("attention.c")
HEAD_DIMS = (32, 64)
SINGLE_THREAD_TOKENS = 32  # up to which waking other threads costs more than it saves


@dataclass(frozen=True)
class AttentionKernel:
    """The compiled attention.c for one width of heads."""

    library: KernelLibrary

    def attend(self, qkv: Tensor, cos: Tensor, sin: Tensor, batch: PackedTensors) -> Tensor:
        """qkv (T, 3, heads, head_dim), cos (T, 1, 1, head_dim), sin half as wide, all bfloat16 -> (T, heads, head_dim)."""
        functions, parallel = self.library
        tokens, _, heads, head_dim = qkv.shape
        qkv, cos, sin = qkv.contiguous(), cos.contiguous(), sin.contiguous()
        threads = torch.get_num_threads() if tokens > SINGLE_THREAD_TOKENS else 1
        longest = max(batch.lengths)
        space = torch.empty(threads * functions.taskvec_space(longest), dtype=torch.uint8)
        out = torch.empty(tokens, heads, head_dim, dtype=torch.bfloat16)
        pointers = [x.data_ptr() for x in (qkv, cos, sin, out, batch.cu_seqlens, space)]
        functions.taskvec_attention(*pointers, len(batch.lengths), heads, longest, threads, parallel)
        return out


@cache
def attention_kernel(head_dim: int) -> AttentionKernel | None:
    """The kernel for heads of this width, or None if it cannot be used here."""
    if head_dim not in HEAD_DIMS:
        return None
    library = open_library(SOURCE, AMX_CAPABILITIES, (*AMX_FLAGS, f"-DDIM={head_dim}"))
    if library is None:
        return None
    library.functions.taskvec_space.restype = ctypes.c_size_t
    library.functions.taskvec_attention.argtypes = [ctypes.c_void_p] * 6 + [ctypes.c_int] * 4 + [ctypes.c_void_p]
    return AttentionKernel(library)
