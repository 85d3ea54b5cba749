"""`taskvec serve` in a process of its own, as tests and soaks use it."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.paths import ROOT
from support.server.waiting import metric, wait_until

SERVE = [sys.executable, "-m", "taskvec_integrations.cli", "serve"]
COMMAND = [*SERVE, "--model", "mini", "--port", "0"]


def environment(**more: str) -> dict[str, str]:
    """This process's environment, with the code of this checkout."""
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
        return metric(self.url, name)


def _addresses(log: Path) -> list[str]:
    """Where a server says that it listens."""
    return re.findall(r"open (https?://[\d.:]+)", log.read_text())


@contextlib.contextmanager
def served(log: Path, *options: str, command: Sequence[str] = COMMAND, **more: str) -> Iterator[Served]:
    """A server of the mini that listens; killed at the end of the block."""
    with log.open("wb") as file:
        process = subprocess.Popen([*command, *options], stderr=file, env=environment(**more))
    try:
        wait_until(lambda: bool(_addresses(log)) or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield Served(process, _addresses(log)[0], log)
    finally:
        process.kill()
        process.wait()
