"""A stream of any length is encoded in the memory that a short one needs."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.paths import ROOT

STREAM = """
import sys
sys.path.insert(0, {core!r})
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


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.soak
def test_a_million_short_texts_do_not_pile_up(native: Path) -> None:
    script = STREAM.format(core=str(ROOT / "core"), folder=str(native), count=1_000_000)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    encoded, early, grown = map(int, done.stdout.split())
    print(f"{encoded} texts: {early} MB for the first 10,000, {grown} MB more for all")
    assert encoded == 1_000_000
    assert grown < 60  # malloc's own drift is 20-40 MB; the vectors alone would be 370
