"""A stream of any length is encoded in the memory that its first part needs."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

STREAM = """
import sys
sys.path.insert(0, {core!r})
from pathlib import Path
from taskvec import Encoder

def peak():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))

encoder = Encoder.from_pretrained({folder!r}, dtype="float32")
early = 0
for number, vector in enumerate(encoder.encode_iter(f"where is the river number {{i}}" for i in range({count})), 1):
    if number == {count} // 20:
        early = peak()
print(number, early // 1024, (peak() - early) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize("count", [100_000, pytest.param(1_000_000, marks=pytest.mark.soak)])
def test_short_texts_do_not_pile_up(native: Path, count: int) -> None:
    script = STREAM.format(core=str(ROOT / "core"), folder=str(native), count=count)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    encoded, early, grown = map(int, done.stdout.split())
    print(f"{encoded} texts: {early} MB after a twentieth, {grown} MB more at the end")
    assert encoded == count
    assert grown < 60
