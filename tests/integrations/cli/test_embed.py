"""`taskvec embed`: every way in and out, the values, what is left behind by a run that fails."""

import base64
import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow.parquet as pq
import pytest

from support.command_line import Taskvec
from taskvec import Encoder, Task, quantize
from taskvec.integration import PRECISIONS
from taskvec_integrations.cli import arguments
from taskvec_integrations.cli import embed as command
from taskvec_integrations.cli.outputs import Quantizer

MODEL = ("--model", "mini", "--dtype", "float32")
TEXTS = ["Yeast makes bread rise.", "The moon pulls at the sea.", "He was born in Ulm."]
CHUNKS = ["Berlin is the capital of Germany.", "The city has 3.8 million inhabitants."]


def rows(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def given(*texts: Any) -> str:
    return "".join(json.dumps({"id": f"d{number}", "text": text, "n": 1}) + "\n" for number, text in enumerate(texts))


@pytest.mark.parametrize("task", [*Task, None])
def test_texts_of_the_command_line(taskvec: Taskvec, mini: Encoder, task: Task | None) -> None:
    done = taskvec("embed", *TEXTS, *MODEL, "--task", task or "none", "--dimensions", 32)
    assert done.code == 0
    found = rows(done.out)
    assert [list(row) for row in found] == [["id", "chunk", "text", "embedding"]] * 3
    assert [(row["id"], row["chunk"], row["text"]) for row in found] == [(str(n), 0, text) for n, text in enumerate(TEXTS)]
    assert np.allclose([row["embedding"] for row in found], mini.encode(TEXTS, task=task, dimensions=32), atol=1e-5)


def test_the_default_is_that_of_encode(taskvec: Taskvec, mini: Encoder) -> None:
    (row,) = rows(taskvec("embed", TEXTS[0], *MODEL).out)
    assert np.float32(row["embedding"]).tolist() == mini.encode(TEXTS[0]).tolist()


def test_the_chunks_of_one_document(taskvec: Taskvec, mini: Encoder) -> None:
    found = rows(taskvec("embed", *CHUNKS, *MODEL, "--late-chunking", "--task", "retrieval.passage").out)
    assert [(row["id"], row["chunk"]) for row in found] == [("0", 0), ("0", 1)]
    assert np.allclose([row["embedding"] for row in found], mini.encode_documents(CHUNKS, late_chunking=True), atol=1e-5)


@pytest.mark.parametrize("late", [False, True])
def test_documents_in_chunks_of_their_own_and_split_ones(taskvec: Taskvec, mini: Encoder, late: bool) -> None:
    long = " ".join(f"Sentence number {number} speaks of {number**2}." for number in range(30))
    options = [*MODEL, "--task", "retrieval.passage", "--chunk", 64, *(["--late-chunking"] if late else [])]
    found = rows(taskvec("embed", "--input", "-", *options, stdin=given(CHUNKS, TEXTS[0], long)).out)
    assert [(row["id"], row["chunk"]) for row in found[:4]] == [("d0", 0), ("d0", 1), ("d1", 0), ("d2", 0)]
    assert [row["chunk"] for row in found[3:]] == list(range(len(found) - 3))
    assert len(found) > 6
    assert " ".join(row["text"].strip() for row in found[3:]) == long
    first = mini.encode_documents(CHUNKS, late_chunking=late)
    assert np.allclose([row["embedding"] for row in found[:2]], first, atol=1e-5)
    assert np.allclose(found[2]["embedding"], mini.encode_documents(TEXTS[0]), atol=1e-5)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["v.npy", "v.jsonl", "v.parquet"])
def test_every_output_in_every_precision(taskvec: Taskvec, tmp_path: Path, mini: Encoder, precision: str, name: str) -> None:
    vectors = mini.encode(TEXTS, dimensions=64)
    ranges = np.stack([np.full(64, -0.3), np.full(64, 0.3)]).astype(np.float32)
    np.save(tmp_path / "ranges.npy", ranges)
    ranged = precision in ("int8", "uint8")
    expected = quantize(vectors, precision, ranges=(ranges[0], ranges[1]) if ranged else None)
    options = ["--precision", precision, "--dimensions", 64, "--output", name, *(["--ranges", "ranges.npy"] if ranged else [])]
    done = taskvec("embed", "--input", "-", *MODEL, *options, stdin=given(*TEXTS))
    if (name, precision) == ("v.npy", "base64"):
        assert (done.code, (tmp_path / name).exists()) == (1, False)
        assert "base64 is text, which a .npy file does not hold" in done.err
        return
    assert (done.code, done.out) == (0, "")
    if name == "v.npy":
        found: Any = np.load(tmp_path / name)
        assert found.dtype == np.asarray(expected).dtype
    else:
        read = pq.read_table(tmp_path / name).to_pylist() if name == "v.parquet" else rows((tmp_path / name).read_text())
        assert [(row["id"], row["chunk"], row["text"]) for row in read] == [(f"d{n}", 0, text) for n, text in enumerate(TEXTS)]
        found = [row["embedding"] for row in read]
    if precision == "base64":
        decoded = [np.frombuffer(base64.b64decode(one), "<f4") for one in found]
        assert np.allclose(decoded, vectors, atol=1e-5)
    else:
        far = np.abs(np.asarray(found, dtype=np.float64) - np.asarray(expected, dtype=np.float64)).max()
        assert far <= (1 if ranged else 0 if precision.endswith("binary") else 1e-3)


def test_ranges_are_made_once_and_kept(taskvec: Taskvec, tmp_path: Path) -> None:
    options = [*MODEL, "--precision", "int8", "--ranges", "ranges.npy", "--dimensions", 8]
    documents = taskvec("embed", *TEXTS, *options)
    assert "rough; calibrate on" in documents.err
    first = np.load(tmp_path / "ranges.npy")
    assert first.shape == (2, 8)
    query = taskvec("embed", TEXTS[1], *options)
    assert rows(query.out)[0]["embedding"] == rows(documents.out)[1]["embedding"]
    assert (np.load(tmp_path / "ranges.npy") == first).all()


def test_many_batches_and_the_header_of_npy(
    taskvec: Taskvec, tmp_path: Path, mini: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "BATCH_VECTORS", 7)
    texts = [f"text number {number}" for number in range(123)]
    for name in ("v.npy", "v.parquet"):
        assert taskvec("embed", "--input", "-", *MODEL, "--output", name, stdin=given(*texts)).code == 0
    expected = mini.encode(texts)
    assert np.allclose(np.load(tmp_path / "v.npy", mmap_mode="r"), expected, atol=1e-5)
    table = pq.read_table(tmp_path / "v.parquet")
    assert table["id"].to_pylist() == [f"d{number}" for number in range(123)]
    assert np.allclose(table["embedding"].to_pylist(), expected, atol=1e-5)


def test_lines_of_stdin(taskvec: Taskvec) -> None:
    found = rows(taskvec("embed", "--input", "-", "--lines", *MODEL, stdin="one\n\ntwo").out)
    assert [(row["id"], row["text"]) for row in found] == [("0", "one"), ("1", "two")]


def test_bad_rows_are_left_out_and_exit_3(taskvec: Taskvec) -> None:
    done = taskvec("embed", "--input", "-", *MODEL, stdin=given("one") + "oops\n" + given(" ", "two"))
    assert (done.code, [row["text"] for row in rows(done.out)]) == (3, ["one", "two"])
    assert "failed: stdin, line 2: it is not JSON" in done.err
    assert "failed: d0: its text is empty or blank" in done.err


@pytest.mark.parametrize("batch", [1, 1024])
def test_rows_of_npy_cannot_be_missing(taskvec: Taskvec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(command, "BATCH_VECTORS", batch)
    (tmp_path / "v.npy").write_text("of yesterday")
    done = taskvec("embed", "--input", "-", *MODEL, "--output", "v.npy", stdin=given("one") + "oops\n" + given("two"))
    assert done.code == 1
    assert "stdin, line 2: it is not JSON" in done.err
    assert "a .npy file keeps no ids, so no row may be missing: use .jsonl or .parquet" in done.err
    assert {path.name for path in tmp_path.iterdir()} == {"v.npy"}
    assert (tmp_path / "v.npy").read_text() == "of yesterday"


def test_nothing_is_left_of_a_run_that_is_interrupted(taskvec: Taskvec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: object, vectors: object) -> None:
        assert len([*tmp_path.glob("v.parquet.*.partial")]) == 1
        raise KeyboardInterrupt

    monkeypatch.setattr(Quantizer, "quantize", interrupted)
    done = taskvec("embed", "one", *MODEL, "--output", "v.parquet")
    assert (done.code, list(tmp_path.iterdir())) == (130, [])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "give either texts or --input"),
        (["x", "--input", "-"], 2, "give either texts or --input"),
        (["x", "--task", "nonsense"], 2, "'retrieval.query'"),
        (["x", "--chunk", "2"], 2, "0 to keep texts whole"),
        (["x", "--dimensions", "385"], 1, "dimensions is 385, but this model's vectors have 384: use 1 to 384"),
        (["x", "--precision", "int8"], 1, "int8 needs ranges, the same for documents and queries: add --ranges ranges.npy"),
        (["x", "--ranges", "r.npy"], 1, "--ranges belongs to int8 and uint8, not to float32"),
        (["x", "--precision", "binary", "--dimensions", "12"], 1, "12 is not a multiple of 8"),
        (["x", "--output", "x.txt"], 1, "x.txt ends in .txt: an output ends in .jsonl, .npy, .parquet"),
        (["x", "--output", "no/x.npy"], 1, "no/x.npy cannot be written: No such file or directory"),
        ([" "], 1, "none of 1 texts could be embedded: 0: its text is empty or blank"),
        (["--input", "-"], 1, "stdin was empty: pipe JSON lines into it"),
        (["--input", "-", "--input", "x.jsonl"], 1, "- (stdin) came with x.jsonl: give one of them"),
    ],
)
def test_errors(taskvec: Taskvec, tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    done = taskvec("embed", *arguments, *MODEL)
    assert done.code == code
    assert said in " ".join(done.err.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []


def test_long_texts_are_cut_and_that_is_said(taskvec: Taskvec, short_folder: Path) -> None:
    done = taskvec("embed", "word " * 200, "x", "--model", short_folder)
    assert done.code == 0
    assert "1 texts were cut at 64 tokens: --chunk splits them" in done.err


def test_the_names_on_the_command_line_are_those_of_the_library() -> None:
    assert get_args(arguments.TaskName) == (*Task, "none")


def test_an_output_that_is_a_link_stays_one(taskvec: Taskvec, tmp_path: Path) -> None:
    (tmp_path / "link.npy").symlink_to(tmp_path / "real.npy")
    (tmp_path / "link.npy.partial").write_text("mine")
    assert taskvec("embed", "a text", *MODEL, "--output", tmp_path / "link.npy").code == 0
    assert (tmp_path / "link.npy").is_symlink()
    assert np.load(tmp_path / "real.npy").shape == (1, 384)
    assert (tmp_path / "link.npy.partial").read_text() == "mine"
