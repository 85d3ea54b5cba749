"""`taskvec ingest --dry-run`: what it counts, and that it writes nothing."""

from pathlib import Path

import pytest

from support.command_line import LONG_TEXT, TEXTS, Taskvec, ingest_arguments, text_lines
from taskvec import Encoder, Usage
from taskvec_integrations.cli.dry_run import format_duration
from taskvec_integrations.ingestion.chunking import split

TO = "qdrant://./index"


def test_a_dry_run_refuses_what_the_run_would(taskvec: Taskvec) -> None:
    done = taskvec("ingest", "-", *ingest_arguments(TO, "--dimensions", 9999, "--dry-run"), stdin='{"text": "a"}\n')
    assert done.code == 1
    assert "dimensions is 9999, but this model's vectors have 384" in done.err


def test_a_dry_run_counts_and_writes_nothing(taskvec: Taskvec, tmp_path: Path, mini: Encoder) -> None:
    given = text_lines(long=LONG_TEXT, **TEXTS) + "oops\n"
    done = taskvec("ingest", "-", *ingest_arguments(TO, "--chunk", 64, "--dry-run"), stdin=given)
    real = taskvec("ingest", "-", *ingest_arguments("qdrant://./real", "--chunk", 64), stdin=given)
    chunks = real.counts("chunks")["written"]
    assert f"Would put 3 documents, {chunks} chunks, " in done.out
    assert "Encoding takes less than 2 seconds, at " in done.out
    assert "Would fail: 1 of the documents" in done.out
    assert "failed: stdin, line 4" in done.err
    assert done.code == real.code == 3
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("late", [False, True])
def test_a_dry_run_counts_the_tokens_that_are_read(taskvec: Taskvec, mini: Encoder, late: bool) -> None:
    arguments = ingest_arguments(TO, "--chunk", 64, "--dry-run", *(["--late-chunking"] if late else []))
    said = taskvec("ingest", "-", *arguments, stdin=text_lines(long=LONG_TEXT)).out
    usage = Usage()
    (spans,) = split([LONG_TEXT], mini, 64)
    if late:
        mini.encode_spans([LONG_TEXT], [spans], usage=usage)
    else:
        mini.encode_documents([LONG_TEXT[start:stop] for start, stop in spans], usage=usage)
    assert f"{usage.tokens:,} tokens into" in said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.1, "less than 2 seconds"),
        (100, "about 100 seconds"),
        (150, "about 2 minutes"),
        (8000, "about 2 hours"),
        (9e5, "about 10 days"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    assert format_duration(seconds) == said
