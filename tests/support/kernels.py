"""For tests of our own kernels: numbers of threads, and tensors that end where memory does, so that whoever reads on dies."""

import ctypes
import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from support.paths import TESTS


@contextmanager
def threads(count: int) -> Iterator[None]:
    """As many for torch and our kernels."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def at_the_edge(x: Tensor) -> Tensor:
    """A copy of x, behind which lies a page that may not be touched."""
    size = x.numel() * x.element_size()
    pages = -(-size // mmap.PAGESIZE)
    memory = mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    behind = ctypes.c_void_p(address + pages * mmap.PAGESIZE)
    assert ctypes.CDLL(None).mprotect(behind, mmap.PAGESIZE, 0) == 0
    own = torch.frombuffer(memory, dtype=x.dtype, count=x.numel(), offset=pages * mmap.PAGESIZE - size)
    return own.view(x.shape).copy_(x)


def survives(script: str) -> None:
    """Run a script that can import these tests and the package, and see that it comes to its end."""
    paths = [TESTS, TESTS / "core", TESTS.parent / "core"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    command = [sys.executable, "-c", f"{script}\nprint('read no further')"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "read no further\n"), done.stderr
