"""Attention within each sequence of a packed row. The one place that differs between devices.

All functions take q, k, v of shape (T, heads, head_dim) and give (T, heads, head_dim); no dense T x T mask exists anywhere.
"""

from collections.abc import Callable, Iterator
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

from taskvec.packing import PackedTensors

Attention = Callable[[Tensor, Tensor, Tensor, PackedTensors], Tensor]


def choose_attention(device: torch.device, dtype: torch.dtype, head_dim: int) -> Attention:
    """Packed flash attention where the card has it (compute capability 8.0, half precision), else one call per length."""
    half = dtype in (torch.float16, torch.bfloat16) and head_dim % 8 == 0 and head_dim <= 256
    if device.type != "cuda" or not half or not torch.backends.cuda.is_flash_attention_available():
        return grouped_attention
    return varlen_attention if torch.cuda.get_device_capability(device) >= (8, 0) else grouped_attention


def grouped_attention(q: Tensor, k: Tensor, v: Tensor, batch: PackedTensors) -> Tensor:
    """scaled_dot_product_attention over each run of neighbours of equal length, as one batch of that length."""
    parts = []
    for start, count, length in _runs(batch.lengths):
        runs = (x.narrow(0, start, count * length).view(count, length, *x.shape[1:]) for x in (q, k, v))
        q_, k_, v_ = (run.transpose(1, 2) for run in runs)
        parts.append(F.scaled_dot_product_attention(q_, k_, v_).transpose(1, 2).flatten(0, 1))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def varlen_attention(q: Tensor, k: Tensor, v: Tensor, batch: PackedTensors) -> Tensor:
    """torch's built-in packed flash attention (CUDA only): sequences are delimited by cu_seqlens on the device."""
    from torch.nn.attention.varlen import varlen_attn

    longest = max(batch.lengths)
    out = varlen_attn(q, k, v, batch.cu_seqlens, batch.cu_seqlens, longest, longest)
    assert isinstance(out, Tensor)  # it is a tuple only when return_aux is asked for
    return out


def _runs(lengths: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
    """(first token, number of sequences, their length) of each run of neighbours of equal length."""
    start = 0
    for length, run in groupby(lengths):
        count = len(list(run))
        yield start, count, length
        start += count * length
