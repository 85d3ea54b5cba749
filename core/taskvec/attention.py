"""Attention within each sequence of a packed row. The one place that differs between devices.

All functions take q, k, v of shape (T, heads, head_dim) and give (T, heads, head_dim); no dense T x T mask exists anywhere.
"""

from collections.abc import Callable
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from taskvec.packing import PackedTensors

# The CPU's half-precision kernel takes keys in blocks of 512: where there is one, a ragged end costs more than a mask does.
WIDENED = 512

Attention = Callable[[Tensor, Tensor, Tensor, PackedTensors], Tensor]


def choose_attention(device: torch.device, dtype: torch.dtype, head_dim: int) -> Attention:
    """Packed flash attention where the card has it (compute capability 8.0, half precision), else one call per length."""
    half = dtype in (torch.float16, torch.bfloat16)
    if device.type == "cpu" and half:
        return aligned_attention
    fits = half and head_dim % 8 == 0 and head_dim <= 256
    if device.type != "cuda" or not fits or not torch.backends.cuda.is_flash_attention_available():
        return grouped_attention
    return varlen_attention if torch.cuda.get_device_capability(device) >= (8, 0) else grouped_attention


def grouped_attention(q: Tensor, k: Tensor, v: Tensor, batch: PackedTensors, multiple: int = 1) -> Tensor:
    """scaled_dot_product_attention over each run of neighbours of equal length, as one batch of that length.

    Where `multiple` is more than 1, the keys of each sequence are widened to a multiple of it by neighbours in the packed row,
    which a mask leaves out: the same result without a copy.
    """
    windows, rows = key_windows(batch.lengths, multiple)
    if rows > len(k):
        k, v = (F.pad(x, (0, 0, 0, 0, 0, rows - len(x))) for x in (k, v))
    parts = []
    for window in windows:
        query = q.narrow(0, window.start, window.sequences * window.length).view(window.sequences, window.length, *q.shape[1:])
        span = (window.sequences - 1) * window.length + window.keys
        k_, v_ = (x.narrow(0, window.first, span).unfold(0, window.keys, window.length).transpose(2, 3) for x in (k, v))
        out = F.scaled_dot_product_attention(query.transpose(1, 2), k_, v_, attn_mask=window.mask)
        parts.append(out.transpose(1, 2).flatten(0, 1))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def aligned_attention(q: Tensor, k: Tensor, v: Tensor, batch: PackedTensors) -> Tensor:
    """`grouped_attention` for half precision on CPUs, whose kernel takes up to twice as long for 206 keys as for 208."""
    return grouped_attention(q, k, v, batch, multiple=16)


def varlen_attention(q: Tensor, k: Tensor, v: Tensor, batch: PackedTensors) -> Tensor:
    """torch's built-in packed flash attention (CUDA only): sequences are delimited by cu_seqlens on the device."""
    from torch.nn.attention.varlen import varlen_attn

    longest = max(batch.lengths)
    out = varlen_attn(q, k, v, batch.cu_seqlens, batch.cu_seqlens, longest, longest)
    assert isinstance(out, Tensor)  # it is a tuple only when return_aux is asked for
    return out


class Window(NamedTuple):
    """`sequences` neighbours of `length` tokens from row `start` on; the first one's `keys` keys from row `first` on.

    `mask` (1, 1, 1, keys) is True where a key is the sequence's own, None where all are.
    """

    start: int
    sequences: int
    length: int
    first: int
    keys: int
    mask: Tensor | None


@lru_cache(maxsize=64)
def key_windows(lengths: tuple[int, ...], multiple: int) -> tuple[list[Window], int]:
    """Runs of neighbours of equal length with their keys, and the number of rows of keys they need (for every layer the same)."""
    windows = []
    start = rows = 0
    for length, run in groupby(lengths):
        count = len(list(run))
        extra = -length % multiple if length <= WIDENED else 0
        before = min(extra, start)
        mask = None
        if extra:
            mask = torch.zeros(1, 1, 1, length + extra, dtype=torch.bool)
            mask[..., before : before + length] = True
        windows.append(Window(start, count, length, start - before, length + extra, mask))
        start += count * length
        rows = max(rows, start + extra - before)
    return windows, rows
