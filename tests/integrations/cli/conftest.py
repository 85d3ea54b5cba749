"""The command line in this process: quick, and what is patched is seen."""

import io
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command_line import Done, Taskvec
from taskvec_integrations import cli


@pytest.fixture
def taskvec(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Taskvec]:
    """Runs `taskvec ARGUMENTS` in tmp_path; stdin is a text or bytes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("QDRANT_API_KEY", "MILVUS_TOKEN", "PINECONE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    loggers = logging.getLogger(), logging.getLogger("taskvec")
    before = [list(logger.handlers) for logger in loggers]

    def run(*arguments: object, stdin: str | bytes = "") -> Done:
        given = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        monkeypatch.setattr(sys, "argv", ["taskvec", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return Done(int(ended.value.code or 0), out, err)

    yield run
    for logger, handlers in zip(loggers, before, strict=True):
        logger.handlers[:] = handlers
