"""Running `taskvec` in tests: as a process of its own, as a user does, or in this one, which is quicker."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from support.paths import ROOT

TEXTS = {"bread": "Yeast turns sugar into gas, which makes bread rise.", "tides": "The moon pulls at the sea."}
LONG_TEXT = " ".join(f"Sentence number {number} speaks of {number**2}." for number in range(40))

PROGRAM = Path(sys.executable).with_name("taskvec")
"""What an installation, also an editable one, makes; ENVIRONMENT has it run this checkout."""
COMMAND = [sys.executable, "-m", "taskvec_integrations.cli"]
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name not in ("PINECONE_API_KEY", "QDRANT_API_KEY", "MILVUS_TOKEN")},
    "PYTHONPATH": f"{ROOT / 'core'}:{ROOT / 'integrations'}",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",  # several processes of these tests share a machine
    "COLUMNS": "100",
}


GUARD_SECONDS = 300
"""Ends a command that hangs; no test waits for it otherwise."""


class Done(NamedTuple):
    """What a command gave."""

    code: int
    out: str
    err: str

    def counts(self, row: str) -> dict[str, int]:
        """The numbers of a row of ingest's table."""
        cells = [line.replace("┃", "│").split("│")[1:-1] for line in self.out.splitlines() if line[:1] in ("│", "┃")]
        names, numbers = cells[0], next(line for line in cells if line[0].strip() == row)
        return {name.strip(): int(number.replace(",", "")) for name, number in zip(names[1:], numbers[1:], strict=True)}


Taskvec = Callable[..., Done]
"""Runs `taskvec ARGUMENTS` in this process; stdin is a text or bytes."""


def process(*arguments: str | Path, folder: Path, stdin: str | None = None, **env: str) -> Done:
    """In a process of its own."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=folder,
        env={**ENVIRONMENT, **env},
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=GUARD_SECONDS,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def interruptible(*arguments: str | Path, folder: Path, **env: str) -> "subprocess.Popen[str]":
    """One that goes on, in a process group of its own, and that Ctrl-C reaches whatever runs this."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=folder,
        env={**ENVIRONMENT, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_until_some_are_written(run: "subprocess.Popen[str]", folder: Path) -> None:
    """Until the index on disk has grown; no output says it, since stderr is no terminal here."""

    def size() -> int:
        return sum(path.stat().st_size for path in folder.glob("index*/**/*") if path.is_file())

    first = 0
    while run.poll() is None:
        first = first or size()
        if size() > first + 100_000:
            return
        time.sleep(0.02)
    raise AssertionError(run.communicate())


def ingest_arguments(to: str, *others: Any, collection: str = "docs") -> Sequence[str]:
    """The options that every ingest of these tests has."""
    return ["--to", to, "--collection", collection, "--model", "mini", "--dtype", "float32", *map(str, others)]


def json_lines(*rows: dict[str, Any]) -> str:
    """Rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def text_lines(**texts: str) -> str:
    """Texts by id as JSON lines."""
    return json_lines(*({"id": id, "text": text} for id, text in texts.items()))
