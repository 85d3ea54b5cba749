"""Loading needs hardly more memory than the weights, and a stream of any length no more than a short one."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from support.checkpoints import Shape, random_weights, write_native, write_original
from support.memory import loading_bytes, needs_proc
from support.processes import run_python
from taskvec import Task


@needs_proc
@pytest.mark.parametrize("layout", [write_native, write_original])
@pytest.mark.parametrize(("stored", "dtype"), [(torch.float32, "bfloat16"), (torch.bfloat16, "float32")])
def test_peak_memory_while_loading(tmp_path: Path, layout: Callable[..., Path], stored: torch.dtype, dtype: str) -> None:
    """Under 1.3 times the weights in the target dtype, whatever dtype and layout the file has."""
    shape = Shape(width=768, layers=4, heads=12, inner=3072, vocab=100_000)
    folder = layout(tmp_path / "large", random_weights(shape), stored)
    # 7 width x width matrices' worth of pooler and biases aside: embeddings and 4 layers of 12 width**2.
    values = shape.vocab * shape.width + shape.layers * 12 * shape.width**2
    assert loading_bytes(folder, dtype, Task.SEPARATION) < 1.3 * values * getattr(torch, dtype).itemsize


STREAM = """
from pathlib import Path
from taskvec import Encoder

def peak():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))

def stream(count):
    return sum(1 for vector in encoder.encode_iter(f"where is the river number {{i}}" for i in range(count)))

encoder = Encoder.from_pretrained({folder!r}, dtype="float32")
stream(10_000)
early = peak()
print(stream({count}), early // 1024, (peak() - early) // 1024)
"""


@needs_proc
@pytest.mark.soak
def test_a_million_short_texts_do_not_pile_up(native: Path) -> None:
    script = STREAM.format(folder=str(native), count=1_000_000)
    encoded, early, grown = map(int, run_python(script, seconds=3600).split())
    print(f"{encoded} texts: {early} MB for the first 10,000, {grown} MB more for all")
    assert encoded == 1_000_000
    assert grown < 60  # malloc's own drift is 20-40 MB; the vectors alone would be 370
