"""`taskvec search` in this process: what it prints, and its errors."""

import json
from pathlib import Path

import pytest

from support.command_line import TEXTS, Taskvec, ingest_arguments, json_lines, text_lines
from support.pinecone.emulator import KEY, pinecone

TO = "qdrant://./index"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["x", "--from", "qdrant://./nowhere"], "there is nothing at qdrant:///"),
        (["x", "--from", TO, "--collection", "others"], "there is no collection 'others' in qdrant:///"),
        (["x", "--from", TO, "--dimensions", "32"], "has dimensions 384; this store has dimensions 32"),
        ([" ", "--from", TO], "the question is empty"),
    ],
)
def test_errors_of_search(taskvec: Taskvec, tmp_path: Path, arguments: list[str], said: str) -> None:
    taskvec("ingest", "-", *ingest_arguments(TO), stdin=text_lines(**TEXTS))
    collection = [] if "--collection" in arguments else ["--collection", "docs"]
    done = taskvec("search", *arguments, *collection, "--model", "mini")
    assert done.code == 1
    assert said in done.err.splitlines()[-1]
    assert not (tmp_path / "nowhere").exists()


def test_what_a_search_shows(taskvec: Taskvec) -> None:
    taskvec("ingest", "-", *ingest_arguments(TO), stdin=json_lines({"id": "[b]", "text": "x" * 600 + " [/bold]", "n": "[red]"}))
    done = taskvec("search", "x", "--from", TO, *ingest_arguments("")[2:])
    assert done.code == 0
    assert "[b] · chunk 0 · " in done.out
    assert "n: [red]" in done.out
    assert "…" in done.out


def test_pinecone_by_the_name_of_its_index(taskvec: Taskvec, monkeypatch: pytest.MonkeyPatch) -> None:
    with pinecone(dimension=384) as server:
        monkeypatch.setenv("PINECONE_API_KEY", KEY)
        to = f"pinecone+{server.url}"
        done = taskvec("ingest", "-", *ingest_arguments(to, collection="books"), stdin=text_lines(**TEXTS))
        assert done.code == 0, done.err
        assert len(server.stored("books")) == 2
        asked = taskvec("search", "bread", "--from", to, *ingest_arguments("", collection="books")[2:], "--json")
        assert json.loads(asked.out.splitlines()[0])["document_id"] == "bread"
