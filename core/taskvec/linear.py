"""Linear layers with what follows them fused in, as the device does it best. Knows tensors, not the model."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from taskvec.int8 import TINY, AmxLinear, amx_int8_works, quantise_weight

# Inputs are quantised in pieces of this many values (2 MB as float32) so that the passes over them stay in the caches.
PIECE = 2**19
MIDDLE = 128  # the zero point of inputs that are quantised symmetrically


class LinearLike(Protocol):
    """What a layer asks of its projections; x is (T, in), results are (T, out)."""

    def __call__(self, x: Tensor) -> Tensor:
        """The projection of x."""

    def gelu(self, x: Tensor) -> Tensor:
        """The exact (erf) GELU of the projection."""

    def add(self, x: Tensor, residual: Tensor) -> Tensor:
        """The projection plus `residual` (T, out)."""


class Linear(NamedTuple):
    """weight (out, in), bias (out,), and for an unmerged adapter its scaled left (out, r) and right (r, in) factors."""

    weight: Tensor
    bias: Tensor
    update: tuple[Tensor, Tensor] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """x (T, in) -> (T, out)."""
        out = F.linear(x, self.weight, self.bias)
        if self.update is None:
            return out
        left, right = self.update
        return out + (x @ right.T) @ left.T

    def gelu(self, x: Tensor) -> Tensor:
        """x (T, in) -> (T, out)."""
        return F.gelu(self(x))

    def add(self, x: Tensor, residual: Tensor) -> Tensor:
        """x (T, in), residual (T, out) -> (T, out)."""
        return residual + self(x)


class PackedLinear(NamedTuple):
    """A Linear on a CPU whose weight oneDNN reordered once, where F.linear does it in every call; GELU and sum are fused in.

    These are the operators torch's own compiler (inductor) puts in place of frozen linear layers; they need no compiler here.
    """

    weight: Tensor
    bias: Tensor

    @classmethod
    def pack(cls, weight: Tensor, bias: Tensor) -> "PackedLinear":
        """From a plain weight (out, in)."""
        return cls(torch.ops.mkldnn._reorder_linear_weight(weight, None), bias)

    def __call__(self, x: Tensor) -> Tensor:
        """x (T, in) -> (T, out)."""
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return out

    def gelu(self, x: Tensor) -> Tensor:
        """x (T, in) -> (T, out)."""
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "gelu", [], "none")
        return out

    def add(self, x: Tensor, residual: Tensor) -> Tensor:
        """x (T, in), residual (T, out) -> (T, out)."""
        out: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, residual, self.weight, self.bias, "add")
        return out


class Int8Linear(NamedTuple):
    """A Linear in int8 on a CPU: packed weight, its scales (out,) and zero points (out,), bias (out,) of the activations' dtype.

    Weights are quantised once, symmetrically, with a scale for each output, inputs in each call: by one range for the whole
    batch, so that all that follows is fused into the product, and where a residual is added each row by its own largest value, as
    what comes from attention and GELU needs it (benchmarks/README.md). AMX or VNNI do the products where the CPU has them.
    """

    weight: Tensor
    scales: Tensor
    zeros: Tensor
    bias: Tensor

    @classmethod
    def pack(cls, weight: Tensor, bias: Tensor) -> "Int8Linear":
        """From a plain weight (out, in) and a bias of the dtype that inputs will have."""
        steps, scales = quantise_weight(weight)
        packed = torch.ops.onednn.qlinear_prepack(steps, None)
        return cls(packed, scales, torch.zeros(len(scales), dtype=torch.int32), bias)

    def __call__(self, x: Tensor) -> Tensor:
        """x (T, in) -> (T, out)."""
        return self._fused(x, "none")

    def gelu(self, x: Tensor) -> Tensor:
        """x (T, in) -> (T, out)."""
        return self._fused(x, "gelu")

    def add(self, x: Tensor, residual: Tensor) -> Tensor:
        """x (T, in), residual (T, out) -> (T, out)."""
        # Rounded to x's dtype before they are used: steps are taken from what the product is scaled with again.
        scales = x.abs().amax(1, keepdim=True).float().div_(127).clamp_(min=TINY).to(x.dtype)
        steps = quantise(x, 1 / scales.float(), MIDDLE)
        return torch.addcmul(residual, self._product(steps, x.dtype, 1.0, MIDDLE), scales).add_(self.bias)

    def _fused(self, x: Tensor, then: str) -> Tensor:
        low, high = (float(bound) for bound in torch.aminmax(x))
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max((high - low) / 255, TINY)
        zero = round(-low / scale)
        return self._product(quantise(x, 1 / scale, zero), x.dtype, scale, zero, self.bias, then)

    def _product(
        self, steps: Tensor, dtype: torch.dtype, scale: float, zero: int, bias: Tensor | None = None, then: str = "none"
    ) -> Tensor:
        out: Tensor = torch.ops.onednn.qlinear_pointwise(
            steps, scale, zero, self.weight, self.scales, self.zeros, bias, 1.0, 0, dtype, then, [], "none"
        )
        return out


def quantise(x: Tensor, factor: Tensor | float, zero: int) -> Tensor:
    """x (T, in) in steps of uint8 from `zero` on: round(x * factor) + zero, clipped; `factor` may be one for each row, (T, 1)."""
    steps = torch.empty(x.shape, dtype=torch.uint8)
    for first in range(0, len(x), rows := max(1, PIECE // x.shape[1])):
        own = slice(first, first + rows)
        piece = x[own].to(torch.float32, copy=True).mul_(factor[own] if isinstance(factor, Tensor) else factor)
        steps[own] = piece.add_(zero).round_().clamp_(0, 255)
    return steps


MakeLinear = Callable[[Tensor, Tensor], LinearLike]
"""Makes a layer of a merged weight (out, in), which it may not keep, and a bias (out,)."""


def choose_linear(device: torch.device, dtype: torch.dtype, activations: torch.dtype, merged: bool = True) -> MakeLinear:
    """What makes the layers of weights of `dtype`: int8, or packed on a CPU whose torch can do it, else plain.

    Raises ValueError where int8 is asked for and cannot be had.
    """
    if dtype is torch.int8:
        if not merged:
            raise ValueError("dtype 'int8' needs merged adapters: leave merge_adapters=False or dtype='int8' out")
        if activations is torch.bfloat16 and amx_int8_works():
            return AmxLinear.pack
        if not int8_works(activations):
            raise ValueError("this CPU or torch does not multiply int8 correctly: leave dtype out, it is never chosen unasked")
        return Int8Linear.pack
    return PackedLinear.pack if device.type == "cpu" and packing_works(dtype) else Linear


@cache
def packing_works(dtype: torch.dtype) -> bool:
    """Whether this torch has oneDNN's packed operators and they compute what the plain ones do (they are no public interface)."""
    weight, bias, x = (torch.linspace(-1, 1, size, dtype=dtype) for size in (32 * 16, 32, 8 * 16))
    plain = Linear(weight.view(32, 16), bias)
    x = x.view(8, 16)
    residual = plain(x)
    try:
        packed = PackedLinear.pack(*plain[:2])
        pairs = ((packed(x), plain(x)), (packed.gelu(x), plain.gelu(x)), (packed.add(x, residual), plain.add(x, residual)))
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return False
    return all(torch.allclose(one, other, rtol=0.02, atol=0.02) for one, other in pairs)


@cache
def int8_works(dtype: torch.dtype) -> bool:
    """Whether this torch and CPU multiply int8 for activations of `dtype` as they should, at the ends of the range, too.

    The operators are no public interface, and CPUs without VNNI may saturate where two large products meet.
    """
    weight, bias, x = torch.ones(32, 64, dtype=dtype), torch.ones(32, dtype=dtype), torch.ones(8, 64, dtype=dtype)
    weight[::2] = torch.linspace(-1, 1, 64, dtype=dtype)
    plain = Linear(weight, bias)
    residual = plain(x)
    try:
        ours = Int8Linear.pack(weight, bias)
        pairs = ((ours(x), plain(x)), (ours.gelu(x), plain.gelu(x)), (ours.add(x, residual), plain.add(x, residual)))
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return False
    return all(torch.allclose(one, other, rtol=0.02, atol=0.1) for one, other in pairs)
