"""For tests of our own kernels: inputs, numbers of threads, and tensors at the end of memory, beyond which a read crashes."""

import ctypes
import mmap
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from support.paths import TESTS
from taskvec.int8 import quantize_weight
from taskvec.kernels.linear import AmxLinear
from taskvec.packing import PackedTensors

Doubles = NDArray[np.float64]


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch and our kernels use this many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def at_the_edge(x: Tensor) -> Tensor:
    """A copy of x, after which a page follows that may not be touched."""
    size = x.numel() * x.element_size()
    pages = -(-size // mmap.PAGESIZE)
    memory = mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    behind = ctypes.c_void_p(address + pages * mmap.PAGESIZE)
    assert ctypes.CDLL(None).mprotect(behind, mmap.PAGESIZE, 0) == 0
    copy = torch.frombuffer(memory, dtype=x.dtype, count=x.numel(), offset=pages * mmap.PAGESIZE - size)
    return copy.view(x.shape).copy_(x)


def survives(script: str) -> None:
    """Run a script that can import the package and these helpers, and assert that it does not crash."""
    paths = [TESTS, TESTS.parent / "core"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    command = [sys.executable, "-c", f"{script}\nprint('read no further')"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "read no further\n"), done.stderr


def packed(lengths: Sequence[int]) -> PackedTensors:
    """Sequences of these lengths as attention needs them, without tokens."""
    starts = torch.from_numpy(np.cumsum([0, *lengths]).astype(np.int32))
    positions = torch.cat([torch.arange(length) for length in lengths])
    return PackedTensors(tuple(lengths), starts, positions, starts, starts, starts)


def rope_tables(positions: Tensor, head_dim: int, dtype: torch.dtype = torch.bfloat16) -> tuple[Tensor, Tensor]:
    """The rotary tables of positions: cos (T, 1, 1, head_dim) and sin half as wide."""
    angles = (positions[:, None] * 20000 ** (-torch.arange(0, head_dim, 2) / head_dim)).view(len(positions), 1, 1, -1)
    return angles.cos().repeat(1, 1, 1, 2).to(dtype), angles.sin().to(dtype)


def attention_inputs(
    lengths: Sequence[int], head_dim: int, spread: float = 1.0, heads: int = 3
) -> tuple[Tensor, Tensor, Tensor, PackedTensors]:
    """Random qkv (T, 3, heads, head_dim) with standard deviation `spread`, its rotary tables and its batch."""
    batch = packed(lengths)
    generator = torch.Generator().manual_seed(sum(lengths))
    qkv = torch.randn(sum(lengths), 3, heads, head_dim, generator=generator).mul_(spread).bfloat16()
    return qkv, *rope_tables(batch.positions, head_dim), batch


class LinearCase:
    """A layer with random weights and its inputs, which have the standard deviation `spread`."""

    def __init__(self, rows: int, inputs: int, outputs: int, spread: float = 1.0) -> None:
        generator = torch.Generator().manual_seed(rows)
        sizes = ((rows, inputs), (outputs, inputs), (outputs,), (rows, outputs))
        self.x, self.weight, self.bias, self.residual = (torch.randn(*size, generator=generator).bfloat16() for size in sizes)
        self.x *= spread
        self.weight *= inputs**-0.5
        self.layer = AmxLinear.pack(self.weight, self.bias)

    def all(self, rows: slice = slice(None)) -> list[Tensor]:
        """The results of the three methods."""
        x, residual = self.x[rows].clone(), self.residual[rows].clone()
        return [self.layer(x), self.layer.gelu(x), self.layer.add(x, residual)]

    def exact(self) -> list[Doubles]:
        """The same in integers and float64, not rounded to bfloat16."""
        x, steps, scales = self.x.float().numpy(), *(part.numpy() for part in quantize_weight(self.weight))
        low, high = (np.float32(0) + bound for bound in (x.min(1, initial=0, keepdims=True), x.max(1, initial=0, keepdims=True)))
        step = np.maximum(high / np.float32(255) - low / np.float32(255), np.float32(1.2e-38))
        zero = np.rint(-low * (1 / step)).astype(np.int64)
        steps_of_x = (np.rint(x * (1 / step)).astype(np.int64) + zero).clip(0, 255) - zero
        y = (steps_of_x @ steps.astype(np.int64).T) * step.astype(np.float64) * scales + self.bias.double().numpy()
        return [y, F.gelu(torch.from_numpy(y)).numpy(), y + self.residual.double().numpy()]
