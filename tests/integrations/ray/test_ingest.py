"""A dataset through actors into a store: the very collection that one process makes, and what is said where it cannot be."""

import json
import logging
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import datasets  # type: ignore[import-untyped]
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray.data
from qdrant_client import QdrantClient

from support.qdrant.http import stub_qdrant
from support.ray_runs import alone, assert_same, in_folder, numbers, points
from taskvec_integrations.files.sources import Columns, FileSource
from taskvec_integrations.ray import ingest_dataset
from taskvec_integrations.ray.parts import RESULT_COLUMN, IngestPart, StoreConfig
from taskvec_integrations.ray.sources import read_rows
from taskvec_integrations.store_url import StoreURL

SETTINGS: dict[str, Any] = {"dimensions": 64, "chunk_tokens": 32}
POOL: dict[str, Any] = {"concurrency": 2, "num_cpus": 1, "part_documents": 8, "dtype": "float32", "model": "mini"}
SENTENCE = "The city number {} lies on a river, and {} people live there in {} houses, most of them old."


def rows(**changes: dict[str, Any]) -> list[dict[str, Any]]:
    """Documents of one to four chunks, some with a hole in their payload, a null text, and chunks of their own."""
    made = {
        f"d{n}": {
            "text": " ".join(SENTENCE.format(n, n * k, k) for k in range(1, 2 + n % 4)),
            "n": n,
            "kind": "a" if n % 3 else None,
        }
        for n in range(40)
    }
    made["d7"]["text"] = None
    made["d9"]["text"] = "  "
    return [{"id": id, **row, **changes.get(id, {})} for id, row in made.items()]


@pytest.mark.usefixtures("cluster")
def test_many_actors_make_what_one_process_makes(tmp_path: Path, mini: Any) -> None:
    """A file first; then edits, as a Dataset."""
    settings = {**SETTINGS, "late_chunking": True}
    ours, theirs = f"qdrant://{tmp_path}/ours", f"qdrant://{tmp_path}/theirs"
    before, after = tmp_path / "before.jsonl", tmp_path / "after.parquet"
    before.write_text("\n".join(json.dumps(row) for row in rows()) + "\nnot JSON\n")
    edits = {"d11": {"text": "Short now."}, "d12": {"kind": "b"}, "d7": {"text": "No longer null."}}
    pq.write_table(pa.Table.from_pylist(rows(**edits)), after)
    done: list[tuple[int, int | None]] = []
    for path, dataset in ((before, before), (after, ray.data.read_parquet(str(after)))):
        report = ingest_dataset(dataset, ours, collection="docs", progress=lambda *told: done.append(told), **settings, **POOL)
        assert numbers(report) == numbers(alone(path, theirs, encoder=mini, **settings))
        assert_same(in_folder(ours), in_folder(theirs))
    assert done[-1] == (40, None)
    assert {report.chunks.deleted, report.chunks.encoded} == {3, 2}


@pytest.mark.usefixtures("cluster")
def test_a_hugging_face_dataset(tmp_path: Path, mini: Any) -> None:
    given = [row for row in rows() if row["id"] not in ("d7", "d9")]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, given)))
    ours, theirs = f"qdrant://{tmp_path}/ours", f"qdrant://{tmp_path}/theirs"
    report = ingest_dataset(datasets.Dataset.from_list(given), ours, collection="docs", **SETTINGS, **POOL)
    assert numbers(report) == numbers(alone(tmp_path / "a.jsonl", theirs, encoder=mini, **SETTINGS))
    assert_same(in_folder(ours), in_folder(theirs))


@pytest.mark.usefixtures("cluster")
def test_actors_write_to_a_server_themselves(tmp_path: Path, mini: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Without late chunking; an id twice, far apart; then the settings of another collection."""
    twice = [*rows(), {"id": "d0", "text": "Again.", "n": 0, "kind": None}]
    dataset = ray.data.from_items(twice)
    with stub_qdrant() as server:
        url = server.url.replace("http://", "qdrant://")
        with caplog.at_level(logging.WARNING, logger="taskvec"):
            report = ingest_dataset(dataset, url, collection="docs", **SETTINGS, **POOL)
        assert "1 documents in docs have an id that another part of the dataset has, too" in caplog.text
        assert {failure.document_id for failure in report.failed} == {"d7", "d9"}
        assert report.documents.written == 39
        client = QdrantClient(server.url, check_compatibility=False)
        made = points(client)
        client.close()
        wrong = StoreConfig(StoreURL.parse(url), "docs", "mini", {}, 1, {"dimensions": 32})
        (row,) = IngestPart(wrong, partial(read_rows, Columns()))(pa.Table.from_pylist(rows()))[RESULT_COLUMN]
        with pytest.raises(ValueError, match=r"has dimensions 64; this store has dimensions 32"):
            raise pickle.loads(row).error
    texts = {row["id"]: row["text"] for row in rows()}
    mine = {id: point for id, point in made.items() if point.fields["document_id"] != "d0"}
    assert {point.fields["document_id"] for point in mine.values()} == texts.keys() - {"d0", "d7", "d9"}
    for point in mine.values():
        assert point.fields["text"] in texts[point.fields["document_id"]]
        np.testing.assert_allclose(point.vector, mini.encode_documents(point.fields["text"], dimensions=64), atol=1e-5)


REFUSED: dict[str, tuple[Callable[[Path], dict[str, Any]], type[Exception], str]] = {
    "a column that is not there": (
        lambda folder: {"dataset": str(folder / "a.jsonl"), "text_column": "body"},
        ValueError,
        "has no column 'body', it has id, text, n, kind",
    ),
    "a column of a dataset": (
        lambda folder: {"dataset": ray.data.read_json(str(folder / "a.jsonl")), "id_column": "key"},
        ValueError,
        "the dataset has no column 'key', it has .*: name another with id_column",
    ),
    "a file": (lambda folder: {"dataset": folder / "b.jsonl"}, FileNotFoundError, "there is no file or folder"),
    "a URL": (lambda folder: {"store_url": "elastic://x"}, ValueError, "does not name a store"),
    "a model": (lambda folder: {"model": ""}, TypeError, "model is ''"),
    "a task": (lambda folder: {"document_task": "passage"}, ValueError, "retrieval.passage"),
    "a dataset": (lambda folder: {"dataset": 3}, TypeError, "dataset is int: a Ray or Hugging Face Dataset, or paths"),
    "stdin": (lambda folder: {"dataset": FileSource((), Columns(), None)}, ValueError, "stdin is read by one process"),
    "parts of nothing": (lambda folder: {"part_documents": 0}, ValueError, "part_documents is 0"),
    "an option": (lambda folder: {"pooling": "cls"}, TypeError, "pooling"),
    "more than there is": (lambda folder: {"concurrency": 3, "num_cpus": 1}, ValueError, "3 actors of 1 CPU and one to read"),
}  # fmt: skip


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_is_said_before_any_work(tmp_path: Path, case: str) -> None:
    change, error, message = REFUSED[case]
    (tmp_path / "a.jsonl").write_text(json.dumps(rows()[0]))
    arguments: dict[str, Any] = {"dataset": tmp_path / "a.jsonl", "store_url": f"qdrant://{tmp_path}/q", **POOL}
    with pytest.raises(error, match=message):
        ingest_dataset(**{**arguments, **change(tmp_path)}, collection="docs")
    assert not (tmp_path / "q").exists()


@pytest.mark.usefixtures("cluster")
def test_a_store_that_another_process_has_open_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(rows()[0]))
    client = QdrantClient(path=str(tmp_path / "q"))
    with pytest.raises(RuntimeError, match=r"another process has .* open"):
        ingest_dataset(tmp_path / "a.jsonl", f"qdrant://{tmp_path}/q", collection="docs", **POOL)
    client.close()
