"""`taskvec ingest` in this process: what reaches the store."""

import json
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient

from support.command_line import LONG_TEXT, TEXTS, Taskvec, ingest_arguments, json_lines, text_lines
from taskvec import Encoder
from taskvec_integrations.ingestion.report import IngestReport
from taskvec_integrations.store_url import StoreURL

TO = "qdrant://./index"


def points(folder: Path, collection: str = "docs") -> dict[tuple[str, int], Any]:
    with closing(QdrantClient(path=str(folder / "index"))) as client:
        found, _ = client.scroll(collection, limit=1000, with_vectors=True)
        return {(one.payload["document_id"], one.payload["chunk"]): one for one in found}  # type: ignore[index]


def test_documents_are_passages_and_questions_queries(taskvec: Taskvec, tmp_path: Path, mini: Encoder) -> None:
    assert taskvec("ingest", "-", *ingest_arguments(TO, "--dimensions", 64), stdin=text_lines(**TEXTS)).code == 0
    stored = points(tmp_path)
    expected = mini.encode_documents(list(TEXTS.values()), dimensions=64)
    for vector, id in zip(expected, TEXTS, strict=True):
        assert np.allclose(stored[id, 0].vector, vector, atol=1e-5)
    question = "Why does dough grow?"
    asked = ["--from", TO, "--collection", "docs", "--model", "mini", "--dtype", "float32", "--dimensions", 64, "--json"]
    hits = [json.loads(line) for line in taskvec("search", question, *asked).out.splitlines()]
    scores = expected @ mini.encode_queries(question, dimensions=64)
    assert [hit["document_id"] for hit in hits] == ["bread", "tides"]
    assert [hit["score"] for hit in hits] == pytest.approx(sorted(scores, reverse=True), abs=1e-5)
    assert len(taskvec("search", question, *asked, "--limit", 1).out.splitlines()) == 1


def test_late_chunking_and_the_length_of_chunks(taskvec: Taskvec, tmp_path: Path, mini: Encoder) -> None:
    for collection, options in (("plain", []), ("late", ["--late-chunking"])):
        arguments = ingest_arguments(TO, "--chunk", 64, *options, collection=collection)
        done = taskvec("ingest", "-", *arguments, stdin=text_lines(long=LONG_TEXT))
        assert done.counts("chunks")["written"] > 5
    plain, late = points(tmp_path, "plain"), points(tmp_path, "late")
    texts = [plain["long", chunk].payload["text"] for chunk in range(len(plain))]
    assert max(mini.count_tokens(texts)) <= 64
    assert np.allclose([plain["long", chunk].vector for chunk in range(len(plain))], mini.encode_documents(texts), atol=1e-5)
    assert not np.allclose(late["long", 1].vector, plain["long", 1].vector, atol=1e-2)
    whole = taskvec("ingest", "-", *ingest_arguments(TO, "--chunk", 0, collection="whole"), stdin=text_lines(long=LONG_TEXT))
    assert whole.counts("chunks")["written"] == 1


def test_lists_of_texts_are_chunks_and_columns_the_payload(taskvec: Taskvec, tmp_path: Path) -> None:
    given = json_lines({"url": "u", "parts": ["one.", "two."], "n": 1, "secret": 2})
    columns = ["--text-column", "parts", "--id-column", "url", "--payload-columns", "n"]
    assert taskvec("ingest", "-", *ingest_arguments(TO, *columns), stdin=given).code == 0
    stored = points(tmp_path)
    assert [stored["u", chunk].payload["text"] for chunk in (0, 1)] == ["one.", "two."]
    assert stored["u", 0].payload.keys() == {"document_id", "chunk", "text", "taskvec_hash", "n"}


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
def test_duplicate_ids_are_reported(taskvec: Taskvec, dry_run: list[str]) -> None:
    given = json_lines(*({"id": number % 2, "text": f"text {number}"} for number in range(5)))
    done = taskvec("ingest", "-", *ingest_arguments(TO, *dry_run), stdin=given)
    assert done.code == 0
    assert (
        "3 times the id of an earlier document came again, or its text where there was no id (such as '0'): the last one counts"
        in done.err
    )


def test_ray_gets_everything(taskvec: Taskvec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cluster, workers = ModuleType("taskvec_integrations.ray.cluster"), ModuleType("taskvec_integrations.ray")
    seen: dict[str, Any] = {}

    @contextmanager
    def join_cluster(address: str) -> Iterator[None]:
        seen.update(address=address)
        yield
        seen.update(left=True)

    def ingest_dataset(source: Any, url: StoreURL, *, report: IngestReport, progress: Any, **options: Any) -> IngestReport:
        seen.update(options, documents=[one.id for one in source], url=url)
        report.documents.read = report.documents.written = 2
        progress(2, None)
        return report

    workers.ingest_dataset = ingest_dataset  # type: ignore[attr-defined]
    cluster.join_cluster = join_cluster  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "taskvec_integrations.ray", workers)
    monkeypatch.setitem(sys.modules, "taskvec_integrations.ray.cluster", cluster)
    (tmp_path / "docs.jsonl").write_text(text_lines(**TEXTS))
    options = ["--ray", "10.0.0.1:6379", "--late-chunking", "--dimensions", 32, "--chunk", 64, "--retry", 9]
    done = taskvec("ingest", "docs.jsonl", *ingest_arguments(TO, *options))
    assert done.code == 0, done.err
    assert done.counts("documents")["written"] == 2
    assert seen == {
        "address": "10.0.0.1:6379",
        "documents": ["bread", "tides"],
        "url": StoreURL.parse(f"qdrant://{tmp_path}/index"),
        "collection": "docs",
        "model": "mini",
        "dtype": "float32",
        "dimensions": 32,
        "late_chunking": True,
        "chunk_tokens": 64,
        "retry_seconds": 9.0,
        "left": True,
    }
