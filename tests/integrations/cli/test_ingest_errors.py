"""`taskvec ingest` where something is wrong: what is printed, what the others become, which exit code."""

import sys
from pathlib import Path
from typing import Any

import pytest

from support.command_line import TEXTS, Taskvec, ingest_arguments, json_lines, text_lines
from taskvec_integrations.cli import console
from taskvec_integrations.qdrant.backend import QdrantBackend

TO = "qdrant://./index"


def test_bad_documents_are_named_counted_and_exit_3(taskvec: Taskvec) -> None:
    given = text_lines(**TEXTS) + "{oops\n" + json_lines({"id": "blank", "text": " "}, {"id": "x", "text": "y", "n": {"deep": 1}})
    done = taskvec("ingest", "-", *ingest_arguments(TO), stdin=given)
    assert done.code == 3
    assert done.counts("documents") == {"read": 5, "encoded": 3, "written": 3, "skipped": 0, "deleted": 0, "failed": 2}
    failed = [line for line in done.err.splitlines() if line.startswith("failed: ")]
    assert failed[0].startswith("failed: stdin, line 3: it is not JSON")
    assert failed[1] == "failed: blank: its text is empty or blank"


def test_only_some_of_many_failures_are_printed(taskvec: Taskvec) -> None:
    done = taskvec("ingest", "-", *ingest_arguments(TO), stdin=text_lines(**TEXTS) + "oops\n" * 30)
    assert done.err.count("failed: ") == 20
    assert "... and 10 more" in done.err


def test_the_database_is_asked_before_the_model_is_loaded(taskvec: Taskvec) -> None:
    done = taskvec(
        "ingest", "-", "--to", "qdrant://127.0.0.1:1", "--collection", "docs", "--model", "./nowhere", stdin=text_lines(a="b")
    )
    assert (done.code, done.err) == (1, "taskvec: qdrant://127.0.0.1:1 cannot be reached: [Errno 111] Connection refused\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "qdrant://data"], "'qdrant://data' does not name a store: use qdrant://./FOLDER"),
        (["--to", "milvus://127.0.0.1:1"], "milvus://127.0.0.1:1 cannot be reached"),
        (["--to", "pinecone://docs"], "PINECONE_API_KEY is not set"),
        (["--to", TO, "--text-column", "body"], "stdin has no column 'body', it has id, text"),
        (["--to", TO, "--dimensions", "999"], "dimensions is 999, but this model's vectors have 384: use 1 to 384"),
        (["--to", TO, "--model", "jinaai/nothing"], "(the small English model needs no download: --model mini)"),
        (["--to", TO, "--device", "warp"], "device 'warp' is not one torch knows"),
        (["--to", TO, "--retry", "-1"], "retry_seconds is -1.0: use 0"),
        (["--to", TO, "--ray", "auto"], "taskvec_integrations.ray is not installed: pip install 'taskvec[ray]'"),
    ],
)
def test_errors_are_one_sentence(taskvec: Taskvec, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str) -> None:
    monkeypatch.setitem(sys.modules, "taskvec_integrations.ray", None)
    done = taskvec(
        "ingest",
        "-",
        "--collection",
        "docs",
        *(["--model", "mini"] if "--model" not in arguments else []),
        *arguments,
        stdin=text_lines(a="b"),
    )
    (sentence,) = (line for line in done.err.splitlines() if line.startswith("taskvec: "))
    assert done.code == 1
    assert said in sentence
    assert done.err.endswith(f"{sentence}\n")


def test_a_collection_of_other_settings_is_refused(taskvec: Taskvec, native: Path) -> None:
    assert taskvec("ingest", "-", *ingest_arguments(TO, "--dimensions", 64), stdin=text_lines(**TEXTS)).code == 0
    for others in (["--dimensions", 32], ["--late-chunking", "--dimensions", 64], ["--model", native, "--dimensions", 64]):
        done = taskvec("ingest", "-", *ingest_arguments(TO, *others), stdin=text_lines(new="text"))
        assert done.code == 1
        assert "use the settings of the collection, or another collection for these" in done.err


def test_wrong_usage_is_exit_2(taskvec: Taskvec) -> None:
    assert taskvec("ingest", "notes").code == 2
    assert taskvec("ingest", "-", *ingest_arguments(TO, "--chunk", 3)).code == 2


def test_a_run_that_an_error_ends_shows_what_was_done(taskvec: Taskvec, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object, points: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(QdrantBackend, "write", full)
    done = taskvec("ingest", "-", *ingest_arguments(TO), stdin=text_lines(**TEXTS))
    assert done.code == 1
    assert done.err.splitlines()[-1] == "taskvec: [Errno 28] No space left on device"
    assert done.counts("documents")["read"] == 2
    assert done.counts("documents")["written"] == 0


def test_retries_are_shown_as_json_lines(taskvec: Taskvec, monkeypatch: pytest.MonkeyPatch) -> None:
    def down_once(self: QdrantBackend, points: Any) -> None:
        if not failed:
            failed.append(True)
            raise TimeoutError("busy")
        write(self, points)

    failed: list[bool] = []
    write = QdrantBackend.write
    monkeypatch.setattr(QdrantBackend, "write", down_once)
    monkeypatch.setattr(QdrantBackend, "first_wait", 0.01)
    monkeypatch.setattr(
        QdrantBackend, "retry_after", staticmethod(lambda error: 0.0 if isinstance(error, TimeoutError) else None)
    )
    done = taskvec("ingest", "-", *ingest_arguments(TO, "--retry", 9), stdin=text_lines(**TEXTS))
    assert (done.code, "1 calls tried again" in done.out) == (0, True)
    assert "docs: TimeoutError: busy; trying again in" in done.err


def test_exit_codes_are_distinct() -> None:
    assert len({console.EXIT_DONE, 1, 2, console.EXIT_FAILURES, console.EXIT_INTERRUPTED}) == 5
