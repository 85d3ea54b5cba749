"""How linear.c is called: linear layers in int8 on CPUs with AMX, and where they can be used. Knows tensors, no model."""

import ctypes
import logging
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from taskvec.int8 import quantize_weight
from taskvec.kernels.library import AMX_CAPABILITIES, AMX_FLAGS, KernelLibrary, open_library

SOURCE = Path(__file__).with_name("linear.c")
CAPABILITIES = (*AMX_CAPABILITIES, "amx_int8")
FLAGS = (*AMX_FLAGS, "-mamx-int8")
PLAIN, GELU, ADD = range(3)  # the epilogues of linear.c
SINGLE_THREAD_BYTES = 2**18  # weights, once for each 32 rows, up to which waking other threads costs more than it saves

log = logging.getLogger("taskvec")


class AmxLinear(NamedTuple):
    """A Linear in int8: weight in tiles (bytes,); scales, sums of steps and bias of whole panels (outputs or more,) float32.

    Weights are quantized once, symmetrically, with a scale for each output, inputs in each call, each row by its own range: its
    results do not depend on what else is in the batch.
    """

    weight: Tensor
    scales: Tensor
    totals: Tensor
    bias: Tensor
    outputs: int

    @classmethod
    def pack(cls, weight: Tensor, bias: Tensor) -> "AmxLinear":
        """From a plain weight (out, in) and a bias (out,)."""
        steps, scales = quantize_weight(weight)
        outputs, inputs = steps.shape
        below = -outputs % 32
        steps = F.pad(steps, (0, -inputs % 64, 0, below)) if below or inputs % 64 else steps
        # Fours of inputs go down the rows of a tile (16 of them), outputs (16) along; panels of 2 tiles (linear.c).
        fours = steps.view(torch.int32).view(len(steps) // 32, 2, 16, -1, 16)
        tiles = fours.permute(0, 3, 1, 4, 2).contiguous().view(torch.int8).flatten()
        totals = steps.sum(1, dtype=torch.int32).float()
        return cls(tiles, F.pad(scales, (0, below)), totals, F.pad(bias.float(), (0, below)), outputs)

    def __call__(self, x: Tensor) -> Tensor:
        """x (T, in) bfloat16 -> (T, out)."""
        return self._run(x, PLAIN, None)

    def gelu(self, x: Tensor) -> Tensor:
        """x (T, in) bfloat16 -> (T, out)."""
        return self._run(x, GELU, None)

    def add(self, x: Tensor, residual: Tensor) -> Tensor:
        """x (T, in), residual (T, out), bfloat16 -> (T, out)."""
        return self._run(x, ADD, residual.contiguous())

    def _run(self, x: Tensor, epilogue: int, residual: Tensor | None) -> Tensor:
        kernel = linear_kernel()
        assert kernel
        functions, parallel = kernel
        x = x.contiguous()
        rows, inputs = x.shape
        out = torch.empty(rows, self.outputs, dtype=torch.bfloat16)
        space = torch.empty(functions.taskvec_space(rows, inputs), dtype=torch.uint8)
        threads = torch.get_num_threads() if len(self.weight) * -(-rows // 32) > SINGLE_THREAD_BYTES else 1
        functions.taskvec_linear(
            x.data_ptr(), self.weight.data_ptr(), self.scales.data_ptr(), self.totals.data_ptr(),
            self.bias.data_ptr(), None if residual is None else residual.data_ptr(), out.data_ptr(), space.data_ptr(),
            rows, inputs, self.outputs, epilogue, threads, parallel,
        )  # fmt: skip
        return out


@cache
def linear_kernel() -> KernelLibrary | None:
    """The compiled kernel, or None if it cannot be used here."""
    kernel = open_library(SOURCE, CAPABILITIES, FLAGS)
    if kernel is None:
        return None
    kernel.functions.taskvec_space.restype = ctypes.c_size_t
    kernel.functions.taskvec_linear.argtypes = [ctypes.c_void_p] * 8 + [ctypes.c_int] * 5 + [ctypes.c_void_p]
    return kernel


@cache
def amx_int8_works() -> bool:
    """Whether there is a kernel here and it computes what torch does, up to the steps of int8."""
    if linear_kernel() is None:
        return False
    rows, inputs, outputs = 37, 100, 70
    waves = torch.linspace(0, 999, (rows + outputs) * inputs).sin().view(-1, inputs).bfloat16()
    x, weight, bias = waves[:rows], waves[rows:] / 8, torch.linspace(-1, 1, outputs).bfloat16()
    plain, residual = F.linear(x.float(), weight.float(), bias.float()), waves[:rows, :outputs]
    ours = AmxLinear.pack(weight, bias)
    pairs = ((ours(x), plain), (ours.gelu(x), F.gelu(plain)), (ours.add(x, residual), plain + residual))
    if all(torch.allclose(one.float(), other, rtol=0.02, atol=0.05) for one, other in pairs):
        return True
    log.warning("taskvec: linear.c gives wrong results on this machine, so torch computes the products")
    return False
