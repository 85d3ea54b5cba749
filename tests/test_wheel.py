"""The built wheel, alone in a clean environment."""

import subprocess
import sys

from support.paths import TESTS


def test_the_wheel_works_alone() -> None:
    done = subprocess.run([sys.executable, str(TESTS / "smoke_wheel.py")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
