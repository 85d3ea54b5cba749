"""Attention within each sequence of a packed row, rotary positions included. The one place that differs between devices.

All of kind `Attention` take qkv (T, 3, heads, head_dim) and the rotary tables of its positions, cos (T, 1, 1, head_dim) and sin
half as wide, and give (T, heads, head_dim); no dense T x T mask exists anywhere.
"""

import logging
from collections.abc import Callable
from functools import cache, lru_cache
from itertools import groupby
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from taskvec.kernels.attention import attention_kernel
from taskvec.packing import PackedTensors

# The CPU's half-precision kernel takes keys in blocks of 512: where there is one, a ragged end costs more than a mask does.
MAX_WIDENED_TOKENS = 512

Attention = Callable[[Tensor, Tensor, Tensor, PackedTensors], Tensor]

log = logging.getLogger("taskvec")


def choose_attention(device: torch.device, dtype: torch.dtype, head_dim: int) -> Attention:
    """Packed flash attention where the card has it (compute capability 8.0, half precision), AMX's, else one call per length."""
    half = dtype in (torch.float16, torch.bfloat16)
    if device.type == "cpu" and half:
        return amx_attention if dtype is torch.bfloat16 and amx_works(head_dim) else aligned_attention
    fits = half and head_dim % 8 == 0 and head_dim <= 256
    if device.type != "cuda" or not fits or not torch.backends.cuda.is_flash_attention_available():
        return grouped_attention
    return varlen_attention if torch.cuda.get_device_capability(device) >= (8, 0) else grouped_attention


def grouped_attention(qkv: Tensor, cos: Tensor, sin: Tensor, batch: PackedTensors) -> Tensor:
    """One call of torch's attention for each run of neighbors of equal length."""
    return attend_in_groups(*rotate_qkv(qkv, cos, sin), batch)


def aligned_attention(qkv: Tensor, cos: Tensor, sin: Tensor, batch: PackedTensors) -> Tensor:
    """`grouped_attention` for half precision on CPUs, whose kernel takes up to twice as long for 206 keys as for 208."""
    return attend_in_groups(*rotate_qkv(qkv, cos, sin), batch, multiple=16)


def varlen_attention(qkv: Tensor, cos: Tensor, sin: Tensor, batch: PackedTensors) -> Tensor:
    """torch's built-in packed flash attention (CUDA only): sequences are delimited by cu_seqlens on the device."""
    from torch.nn.attention.varlen import varlen_attn

    q, k, v = rotate_qkv(qkv, cos, sin)
    longest = max(batch.lengths)
    out = varlen_attn(q, k, v, batch.cu_seqlens, batch.cu_seqlens, longest, longest)
    assert isinstance(out, Tensor)  # it is a tuple only when return_aux is asked for
    return out


def amx_attention(qkv: Tensor, cos: Tensor, sin: Tensor, batch: PackedTensors) -> Tensor:
    """Our own kernel for bfloat16 on CPUs with AMX, where `amx_works`: positions and attention in one pass over qkv."""
    kernel = attention_kernel(qkv.shape[-1])
    assert kernel
    return kernel.attend(qkv, cos, sin, batch)


@cache
def amx_works(head_dim: int) -> bool:
    """Whether there is a kernel for heads of this width here and it computes what torch does in float32."""
    kernel = attention_kernel(head_dim)
    if kernel is None:
        return False
    lengths, heads = (70, 33, 1), 2
    tokens = sum(lengths)
    starts = torch.tensor((0, 70, 103, 104), dtype=torch.int32)
    batch = PackedTensors(lengths, starts, starts, starts, starts, starts)
    angles = torch.linspace(0, 9, tokens * head_dim // 2).view(tokens, 1, 1, -1)
    waves = torch.linspace(0, 999, tokens * 3 * heads * head_dim).sin().view(tokens, 3, heads, -1)
    qkv, cos, sin = (x.bfloat16() for x in (waves, angles.cos().repeat(1, 1, 1, 2), angles.sin()))
    found, wanted = kernel.attend(qkv, cos, sin, batch), grouped_attention(qkv.float(), cos.float(), sin.float(), batch)
    if torch.allclose(found.float(), wanted, rtol=0.02, atol=0.02):
        return True
    log.warning("taskvec: attention.c gives wrong results on this machine, so torch computes the attention")
    return False


def rotate_qkv(qkv: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """q, k, v of (T, heads, head_dim) each, q and k rotate_qkv by their positions."""
    q, k = rotate(qkv.narrow(1, 0, 2), cos, sin).unbind(1)
    return q, k, qkv.select(1, 2)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """RoPE in half-rotation (NeoX) form: x (T, ..., head_dim); cos broadcasts over it, sin over (T, ..., head_dim / 2).

    Source: Su et al. 2021, https://arxiv.org/abs/2104.09864, with the halves of the head as pairs. One pass over whole heads and
    two over half ones, which is 30 % less than making each half and joining them.
    """
    half = x.shape[-1] // 2
    out = x * cos
    out.narrow(-1, 0, half).addcmul_(x.narrow(-1, half, half), sin, value=-1)
    out.narrow(-1, half, half).addcmul_(x.narrow(-1, 0, half), sin)
    return out


def attend_in_groups(q: Tensor, k: Tensor, v: Tensor, batch: PackedTensors, multiple: int = 1) -> Tensor:
    """scaled_dot_product_attention over each run of neighbors of equal length, as one batch of that length.

    Where `multiple` is more than 1, the keys of each sequence are widened to a multiple of it by neighbors in the packed row,
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


class Window(NamedTuple):
    """`sequences` neighbors of `length` tokens from row `start` on; the first one's `keys` keys from row `first` on.

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
    """Runs of neighbors of equal length with their keys, and the number of rows of keys they need (for every layer the same)."""
    windows = []
    start = rows = 0
    for length, run in groupby(lengths):
        count = len(list(run))
        extra = -length % multiple if length <= MAX_WIDENED_TOKENS else 0
        before = min(extra, start)
        mask = None
        if extra:
            mask = torch.zeros(1, 1, 1, length + extra, dtype=torch.bool)
            mask[..., before : before + length] = True
        windows.append(Window(start, count, length, start - before, length + extra, mask))
        start += count * length
        rows = max(rows, start + extra - before)
    return windows, rows
