"""What a new user does, in processes of their own: ingest a folder, a JSONL and a Parquet file, search, interrupt, go on."""

import json
import os
import signal
import subprocess
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from milvus_lite.server_manager import server_manager_instance
from pymilvus import MilvusClient
from qdrant_client import QdrantClient

from support.command_line import (
    COMMAND,
    ENVIRONMENT,
    GUARD_SECONDS,
    PROGRAM,
    ingest_arguments,
    interruptible,
    process,
    wait_until_some_are_written,
)
from taskvec_integrations.ingestion.points import uuid_of

TEXTS = {
    "cat.md": "The cat is fed by Marta, every morning at seven. It eats fish.",
    "sub/bread.txt": "Bread rises because yeast turns sugar into gas.",
    "tides.txt": "The moon pulls at the sea, which makes the tides.",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in TEXTS.items():
        (tmp_path / "notes" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "notes" / name).write_text(text)
    return tmp_path


def test_a_folder_into_qdrant_and_a_question(folder: Path) -> None:
    arguments = ["ingest", "notes", *ingest_arguments("qdrant://./index", "--late-chunking")]
    first = process(*arguments, folder=folder)
    assert (first.code, first.counts("documents")["written"]) == (0, 3), first.err
    assert "Making collection docs in qdrant:///" in first.err
    (folder / "notes/cat.md").write_text("The cat is fed by Paul now.")
    again = process(*arguments, folder=folder)
    assert again.counts("documents") == {"read": 3, "encoded": 1, "written": 1, "skipped": 2, "deleted": 0, "failed": 0}
    asked = process(
        "search", "who feeds the cat?", "--from", "qdrant://./index", *ingest_arguments("")[2:], "--json", folder=folder
    )
    hits = [json.loads(line) for line in asked.out.splitlines()]
    assert [hits[0]["document_id"], hits[0]["text"], len(hits)] == ["notes/cat.md", "The cat is fed by Paul now.", 3]


def test_parquet_into_milvus_lite(folder: Path) -> None:
    rows = {"url": ["a", "b"], "body": ["Yeast makes bread rise.", "The moon pulls."], "year": [2020, None], "extra": [1, 2]}
    pq.write_table(pa.table(rows), folder / "docs.parquet")
    columns = ["--text-column", "body", "--id-column", "url", "--payload-columns", "year"]
    done = process("ingest", "docs.parquet", *ingest_arguments("milvus://./new/m.db", *columns), folder=folder)
    assert (done.code, done.counts("chunks")["written"]) == (0, 2), done.err
    client = MilvusClient(str(folder / "new/m.db"))
    client.load_collection("docs")
    held = {row["document_id"]: row for row in client.query("docs", filter='id != ""', output_fields=["*"])}
    client.close()
    server_manager_instance.release_server(str(folder / "new/m.db"))
    assert (held["a"]["text"], held["a"]["year"]) == ("Yeast makes bread rise.", 2020)
    assert not {"year", "extra"} & held["b"].keys()
    shown = process("search", "bread", "--from", "milvus://./new/m.db", *ingest_arguments("")[2:], folder=folder)
    assert "╭─ a · chunk 0 · 0." in shown.out
    assert "year: 2020" in shown.out


@pytest.mark.parametrize(("url", "count"), [("qdrant://./index", 400), ("milvus://./index.db", 900)])
def test_ctrl_c_and_the_same_command_again(tmp_path: Path, url: str, count: int) -> None:
    with (tmp_path / "docs.jsonl").open("w") as file:
        for number in range(count):
            file.write(json.dumps({"id": number, "text": f"Document {number} says {number**2}, and goes on about it."}) + "\n")
    command = ["ingest", "docs.jsonl", *ingest_arguments(url)]
    with interruptible(*command, folder=tmp_path) as run:
        wait_until_some_are_written(run, tmp_path)
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does
        _, err = run.communicate(timeout=GUARD_SECONDS)
    assert run.returncode == 130, err
    assert "Interrupted. What was written, at least the above, stays: the same command goes on from there." in err
    assert err.count("\n") == 3, err  # the model, the collection, and that
    again = process("ingest", "docs.jsonl", *ingest_arguments(url), folder=tmp_path)
    counts = again.counts("documents")
    assert (again.code, counts["read"], counts["failed"]) == (0, count, 0)
    assert counts["skipped"] > 0
    assert counts["skipped"] + counts["written"] == count
    if url.startswith("qdrant"):
        with closing(QdrantClient(path=str(tmp_path / "index"))) as client:
            points, _ = client.scroll("docs", limit=count + 1)
        assert {point.id for point in points} == {uuid_of(str(number), 0) for number in range(count)}


def test_json_lines_through_pipes(folder: Path) -> None:
    lines = "\n".join(json.dumps({"id": name, "text": text}) for name, text in TEXTS.items())
    done = process("ingest", "-", *ingest_arguments("qdrant://./index"), folder=folder, stdin=lines)
    assert done.counts("documents")["written"] == 3


def test_a_reader_that_has_enough(folder: Path) -> None:
    command = f"{' '.join(COMMAND)} embed {'bread ' * 3000} --model mini | head -1"
    done = subprocess.run(command, shell=True, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=GUARD_SECONDS)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr


def test_help_is_quick() -> None:
    done = process("--help", folder=Path.cwd())
    assert all(name in done.out for name in ("demo", "ingest", "search", "embed", "models", "doctor"))


@pytest.mark.parametrize(("typed", "offered"), [("taskvec embed --task ret", "retrieval.query"), ("taskvec in", "ingest")])
def test_the_shell_completes(typed: str, offered: str) -> None:
    words = {"_TASKVEC_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    done = subprocess.run([PROGRAM], env={**ENVIRONMENT, **words}, capture_output=True, text=True, check=True)
    assert offered in done.stdout.splitlines()
