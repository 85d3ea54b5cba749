"""Running Python in a process of its own, with this checkout's package."""

import os
import subprocess
import sys
from pathlib import Path

from support.paths import ROOT

HANG_SECONDS = 300


def run_python(code: str | Path, stdin: bytes = b"", seconds: float = HANG_SECONDS, **environment: str) -> str:
    """Run a script, which has to end with status 0, and return what it writes to stdout.

    Args:
        code: The script, or where it is.
        stdin: What it reads.
        seconds: After which it is taken to hang.
        environment: Variables to set beside those of this process.
    """
    done = subprocess.run(
        [sys.executable, *([str(code)] if isinstance(code, Path) else ["-c", code])],
        input=stdin,
        env={**os.environ, "PYTHONPATH": str(ROOT / "core"), **environment},
        cwd=ROOT,
        capture_output=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()
