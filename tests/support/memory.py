"""How much memory loading a model takes, measured in a process of its own. Linux only."""

from pathlib import Path

import pytest

from support.processes import run_python
from taskvec import Task

needs_proc = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")

PEAK = """
import torch
from taskvec import Encoder
from taskvec.linear import packing_works

def read(name):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(name))

for dtype in (torch.float32, torch.bfloat16):  # the libraries' own buffers and kernels are no weights
    torch.nn.functional.linear(torch.ones(64, 64, dtype=dtype), torch.ones(64, 64, dtype=dtype))
    packing_works(dtype)
open("/proc/self/clear_refs", "w").write("5")
before = read("VmRSS")
encoder = Encoder.from_pretrained({folder!r}, device="cpu", dtype={dtype!r})
encoder._open_pipeline._runners[0]._bodies.get({task!r})
print(read("VmHWM") - before)
"""


def loading_bytes(folder: Path, dtype: str, task: Task) -> int:
    """The peak of resident memory while a model and the weights of a task are loaded, above what the libraries take."""
    return int(run_python(PEAK.format(folder=str(folder), dtype=dtype, task=task.value)))
