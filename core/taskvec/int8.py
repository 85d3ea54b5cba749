"""Linear layers in int8 by torch's own operators, and how weights and inputs become int8. Knows tensors, no model."""

from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

TINY = torch.finfo(torch.float32).tiny
SYMMETRIC_ZERO_POINT = 128  # the zero point of inputs that are quantized symmetrically
WEIGHT_PIECE_VALUES = 2**21  # 8 MB as float32: weights are quantized in such pieces, which spares the heap large holes
INPUT_PIECE_VALUES = 2**19  # 2 MB as float32: inputs are quantized in such pieces, so that the caches hold them


class Int8Linear(NamedTuple):
    """A Linear in int8 on a CPU: packed weight, its scales (out,) and zero points (out,), bias (out,) of the activations' dtype.

    Weights are quantized once, symmetrically, with a scale for each output, inputs in each call: by one range for the whole
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
        steps, scales = quantize_weight(weight)
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
        steps = quantize_input(x, 1 / scales.float(), SYMMETRIC_ZERO_POINT)
        return torch.addcmul(residual, self._product(steps, x.dtype, 1.0, SYMMETRIC_ZERO_POINT), scales).add_(self.bias)

    def _fused(self, x: Tensor, epilogue: str) -> Tensor:
        low, high = (float(bound) for bound in torch.aminmax(x))
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max((high - low) / 255, TINY)
        zero = round(-low / scale)
        return self._product(quantize_input(x, 1 / scale, zero), x.dtype, scale, zero, self.bias, epilogue)

    def _product(
        self, steps: Tensor, dtype: torch.dtype, scale: float, zero: int, bias: Tensor | None = None, epilogue: str = "none"
    ) -> Tensor:
        out: Tensor = torch.ops.onednn.qlinear_pointwise(
            steps, scale, zero, self.weight, self.scales, self.zeros, bias, 1.0, 0, dtype, epilogue, [], "none"
        )
        return out


def quantize_input(x: Tensor, factor: Tensor | float, zero: int) -> Tensor:
    """x (T, in) in steps of uint8 from `zero` on: round(x * factor) + zero, clipped; `factor` may be one for each row, (T, 1)."""
    steps = torch.empty(x.shape, dtype=torch.uint8)
    for first in range(0, len(x), rows := max(1, INPUT_PIECE_VALUES // x.shape[1])):
        part = slice(first, first + rows)
        piece = x[part].to(torch.float32, copy=True).mul_(factor[part] if isinstance(factor, Tensor) else factor)
        steps[part] = piece.add_(zero).round_().clamp_(0, 255)
    return steps


def quantize_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """weight (out, in) -> its steps in int8, -127 to 127, and the scale of each output (out,) float32."""
    steps, scales = torch.empty(weight.shape, dtype=torch.int8), torch.empty(len(weight))
    for first in range(0, len(weight), rows := max(1, WEIGHT_PIECE_VALUES // weight.shape[1])):
        part = slice(first, first + rows)
        values = weight[part].to(torch.float32, copy=True)
        scales[part] = values.abs().amax(1).div_(127).clamp_(min=TINY)
        steps[part] = values.div_(scales[part, None]).round_()
    return steps, scales


@cache
def int8_works(dtype: torch.dtype) -> bool:
    """Whether this torch and CPU multiply int8 for activations of `dtype` as they should, at the ends of the range, too.

    The operators are no public interface, and CPUs without VNNI may saturate where two large products meet.
    """
    weight, bias, x = torch.ones(32, 64, dtype=dtype), torch.ones(32, dtype=dtype), torch.ones(8, 64, dtype=dtype)
    weight[::2] = torch.linspace(-1, 1, 64, dtype=dtype)
    plain = F.linear(x, weight, bias)
    try:
        ours = Int8Linear.pack(weight, bias)
        pairs = ((ours(x), plain), (ours.gelu(x), F.gelu(plain)), (ours.add(x, plain), plain + plain))
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return False
    return all(torch.allclose(one, other, rtol=0.02, atol=0.1) for one, other in pairs)
