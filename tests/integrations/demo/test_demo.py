"""`taskvec demo` as a user runs it, on a part of the reference, and its failures."""

import io
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient
from rich.console import Console
from typer.testing import CliRunner

from support.command_line import GUARD_SECONDS
from taskvec_integrations.cli.app import app
from taskvec_integrations.demo import tour as demo
from taskvec_integrations.demo.text import QUESTIONS, ReferenceChunk, answers, read_sections
from taskvec_integrations.extras import MissingExtraError, require
from taskvec_integrations.ingestion.points import Point
from taskvec_integrations.qdrant.backend import QdrantBackend

SECTIONS = [section for section in read_sections() if len(section) < 4][:20] + [
    section for section in read_sections() if section[0].heading in ("Emulating container types", "The with statement")
]


def tour(folder: Path, question: str | None = None, width: int = 80) -> str:
    out = io.StringIO()
    demo.run(question, "mini", folder, Console(file=out, width=width), SECTIONS)
    return out.getvalue()


def test_the_text_has_the_answers() -> None:
    sections = read_sections()
    chunks = [chunk for section in sections for chunk in section]
    assert len(sections) > 80
    assert len({chunk.text for chunk in chunks}) == len(chunks)
    known = [question for question in QUESTIONS if 1 <= sum(answers(chunk, question) for chunk in chunks) <= 3]
    assert len(known) >= len(QUESTIONS) - 3  # the reference differs between versions of Python


def test_a_tour_and_a_question_from_the_same_index(tmp_path: Path) -> None:
    first = tour(tmp_path)
    assert f"Indexing Python's language reference: {len(SECTIONS)} sections" in first
    assert "At which place the answer comes" in first
    assert "How do I make my class work with len()?" in " ".join(first.replace("│", " ").split())
    assert "mean reciprocal rank" in " ".join(first.split())
    assert "What next" in first
    again = tour(tmp_path, "How is an object made callable?")
    assert "Indexing" not in again
    assert "Emulating callable objects · 0." in again
    assert "What next" not in again


def test_an_index_that_was_cut_short_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: QdrantBackend, points: Sequence[Point]) -> None:
        write(self, points[:7])
        raise KeyboardInterrupt

    write = QdrantBackend.write
    with monkeypatch.context() as patch:
        patch.setattr(QdrantBackend, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tour(tmp_path, "What?")
    assert "Indexing" in tour(tmp_path, "What does len() call?")
    assert "Indexing" not in tour(tmp_path, "What does len() call?")


def test_a_damaged_index_is_made_anew(tmp_path: Path) -> None:
    tour(tmp_path, "What does len() call?")
    (path,) = tmp_path.iterdir()
    shutil.rmtree(path / "collection")
    (path / "meta.json").write_text('{"collections": {}, "aliases": {}}')
    assert "Indexing" in tour(tmp_path, "What does len() call?")
    assert "Indexing" not in tour(tmp_path, "What does len() call?")


def test_brackets_of_code_are_printed(tmp_path: Path) -> None:
    out = io.StringIO()
    sections = [
        [
            ReferenceChunk("Slices [/x]", "The expression s[i] gives item i, as list[int] says."),
            ReferenceChunk("Slices", "Nothing else."),
        ]
    ]
    demo.run("what is [/x] in s[i]?", "mini", tmp_path, Console(file=out, width=80), sections)
    assert "what is [/x] in s[i]?" in out.getvalue()
    assert "s[i] gives item i, as list[int]" in out.getvalue()


def test_a_folder_that_cannot_be_written_is_said_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        tour(tmp_path / "file", "What?")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the client leaves the lock's file open
def test_an_index_in_use_is_said(tmp_path: Path) -> None:
    tour(tmp_path, "What does len() call?")
    (path,) = tmp_path.iterdir()
    holder = QdrantClient(path=str(path))
    try:
        with pytest.raises(demo.IndexInUseError, match="another process uses the index"):
            tour(tmp_path, "What does len() call?")
    finally:
        holder.close()


def test_ranks_are_of_the_right_chunk() -> None:
    question = "Which objects are false in an if?"
    chunks = [ReferenceChunk("a", "nothing"), ReferenceChunk("b", f"… {QUESTIONS[question]} …"), ReferenceChunk("c", "other")]
    queries = np.array([[1.0, 0.0]], dtype=np.float32)
    vectors = np.array([[0.6, 0.8], [0.8, 0.6], [1.0, 0.0]], dtype=np.float32)
    assert demo.rank_answers(queries, vectors, 2, chunks, [question]).tolist() == [2]


def test_a_missing_extra_names_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "qdrant_client", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'taskvec\[qdrant\]'"):
        require("qdrant_client", "qdrant")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["demo", "--model", "./nowhere"], "there is no model folder ./nowhere"),
        (["demo", "--model", ""], "a hub id like"),
    ],
)
def test_failures_are_one_sentence(arguments: list[str], said: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "taskvec_integrations.cli", *arguments, "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=GUARD_SECONDS)
    assert done.returncode == 1
    assert done.stderr.startswith("taskvec: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from taskvec_integrations.cli.app import app; "
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0; "
        "print(sorted({'torch', 'numpy', 'qdrant_client'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout.startswith("taskvec 0")
