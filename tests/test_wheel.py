"""The built wheel, alone in a clean environment."""

import subprocess
import sys

import pytest

from support.paths import TESTS


@pytest.mark.slow
def test_the_wheel_works_alone() -> None:
    done = subprocess.run([sys.executable, str(TESTS / "smoke_wheel.py")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
