"""Linear layers with what follows them fused in, as the device does it best. Knows tensors, not the model."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from taskvec.int8 import Int8Linear, int8_works
from taskvec.kernels.linear import AmxLinear, amx_int8_works


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
    """A Linear on a CPU whose weight oneDNN reorders once, which F.linear does in every call; GELU and sum are fused in.

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


MakeLinear = Callable[[Tensor, Tensor], LinearLike]
"""Makes a layer of a merged weight (out, in), which it may not keep, and a bias (out,)."""


def choose_linear(device: torch.device, dtype: torch.dtype, activations: torch.dtype, merged: bool = True) -> MakeLinear:
    """Choose how linear layers are made: int8, or packed on a CPU whose torch can do it, else plain.

    Args:
        device: Where the layers run.
        dtype: That of the weights.
        activations: The dtype of inputs and outputs.
        merged: Whether adapters are merged into the weights.

    Returns:
        What makes a layer of a weight and a bias.

    Raises:
        ValueError: `dtype` is int8, and the layers cannot have it.
    """
    if dtype is torch.int8:
        if not merged:
            raise ValueError("dtype 'int8' needs merged adapters: leave out merge_adapters=False or dtype='int8'")
        if activations is torch.bfloat16 and amx_int8_works():
            return AmxLinear.pack
        if not int8_works(activations):
            raise ValueError(
                "this CPU or this version of torch does not multiply int8 correctly: leave dtype out to have another one chosen"
            )
        return Int8Linear.pack
    return PackedLinear.pack if device.type == "cpu" and packing_works(dtype) else Linear


@cache
def packing_works(dtype: torch.dtype) -> bool:
    """Whether oneDNN's packed operators, which are not a public interface, are here and compute what the plain ones do."""
    weight, bias, x = (torch.linspace(-1, 1, size, dtype=dtype) for size in (32 * 16, 32, 8 * 16))
    plain = Linear(weight.view(32, 16), bias)
    x = x.view(8, 16)
    residual = plain(x)
    try:
        packed = PackedLinear.pack(plain.weight, plain.bias)
        pairs = ((packed(x), plain(x)), (packed.gelu(x), plain.gelu(x)), (packed.add(x, residual), plain.add(x, residual)))
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return False
    return all(torch.allclose(one, other, rtol=0.02, atol=0.02) for one, other in pairs)
