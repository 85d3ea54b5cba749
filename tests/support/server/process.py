"""`taskvec serve` in a process of its own, as tests and soaks use it."""

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from support.paths import ROOT

SERVE = [sys.executable, "-m", "taskvec_integrations.cli", "serve"]
COMMAND = [*SERVE, "--model", "mini", "--port", "0"]


def environment(**more: str) -> dict[str, str]:
    """This process's, with the code of this tree."""
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'core'}{os.pathsep}{ROOT / 'integrations'}", **more}


@dataclass
class Served:
    """A server that runs: its process, where it listens, its log."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def megabytes(self) -> float:
        """Resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if re.match(rf"{name}[ {{]", line))


@contextlib.contextmanager
def served(log: Path, *options: str, command: Sequence[str] = COMMAND, **more: str) -> Iterator[Served]:
    """A server of the mini, once it says where it listens; killed at the end of the block."""
    with log.open("wb") as file:
        process = subprocess.Popen([*command, *options], stderr=file, env=environment(**more))
    try:
        deadline = time.monotonic() + 60
        while not (found := re.search(r"open (https?://[\d.:]+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield Served(process, found[1], log)
    finally:
        process.kill()
        process.wait()
