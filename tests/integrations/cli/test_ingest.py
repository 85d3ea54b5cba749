"""`taskvec ingest` and `search` in this process: what reaches the store, what is said, which exit code."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient

from support.command_line import Done, ingest_arguments
from support.pinecone.emulator import KEY, pinecone
from taskvec import Encoder
from taskvec_integrations.cli import console
from taskvec_integrations.cli.dry_run import duration
from taskvec_integrations.ingestion.report import IngestReport
from taskvec_integrations.store_url import StoreURL

Taskvec = Callable[..., Done]
TEXTS = {"bread": "Yeast turns sugar into gas, which makes bread rise.", "tides": "The moon pulls at the sea."}
LONG = " ".join(f"Sentence number {number} speaks of {number**2}." for number in range(40))
TO = "qdrant://./index"


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def rows(**texts: str) -> str:
    return lines(*({"id": id, "text": text} for id, text in texts.items()))


def points(folder: Path, collection: str = "docs") -> dict[tuple[str, int], Any]:
    with closing(QdrantClient(path=str(folder / "index"))) as client:
        found, _ = client.scroll(collection, limit=1000, with_vectors=True)
        return {(one.payload["document_id"], one.payload["chunk"]): one for one in found}  # type: ignore[index]


def test_documents_are_passages_and_questions_queries(taskvec: Taskvec, tmp_path: Path, mini: Encoder) -> None:
    assert taskvec("ingest", "-", *ingest_arguments(TO, "--dimensions", 64), stdin=rows(**TEXTS)).code == 0
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
    for collection, late in (("plain", []), ("late", ["--late-chunking"])):
        done = taskvec("ingest", "-", *ingest_arguments(TO, "--chunk", 64, *late, collection=collection), stdin=rows(long=LONG))
        assert done.counts("chunks")["written"] > 5
    plain, late = points(tmp_path, "plain"), points(tmp_path, "late")
    texts = [plain["long", chunk].payload["text"] for chunk in range(len(plain))]
    assert max(mini.count_tokens(texts)) <= 64
    assert np.allclose([plain["long", chunk].vector for chunk in range(len(plain))], mini.encode_documents(texts), atol=1e-5)
    assert not np.allclose(late["long", 1].vector, plain["long", 1].vector, atol=1e-2)
    whole = taskvec("ingest", "-", *ingest_arguments(TO, "--chunk", 0, collection="whole"), stdin=rows(long=LONG))
    assert whole.counts("chunks")["written"] == 1


def test_lists_of_texts_are_chunks_and_columns_the_payload(taskvec: Taskvec, tmp_path: Path) -> None:
    given = lines({"url": "u", "parts": ["one.", "two."], "n": 1, "secret": 2})
    columns = ["--text-column", "parts", "--id-column", "url", "--payload-columns", "n"]
    assert taskvec("ingest", "-", *ingest_arguments(TO, *columns), stdin=given).code == 0
    stored = points(tmp_path)
    assert [stored["u", chunk].payload["text"] for chunk in (0, 1)] == ["one.", "two."]
    assert stored["u", 0].payload.keys() == {"document_id", "chunk", "text", "taskvec_hash", "n"}


def test_bad_documents_are_named_counted_and_exit_3(taskvec: Taskvec) -> None:
    given = rows(**TEXTS) + "{oops\n" + lines({"id": "blank", "text": " "}, {"id": "x", "text": "y", "n": {"deep": 1}})
    done = taskvec("ingest", "-", *ingest_arguments(TO), stdin=given)
    assert done.code == 3
    assert done.counts("documents") == {"read": 5, "encoded": 3, "written": 3, "skipped": 0, "deleted": 0, "failed": 2}
    failed = [line for line in done.err.splitlines() if line.startswith("failed: ")]
    assert failed[0].startswith("failed: stdin, line 3: it is no JSON")
    assert failed[1] == "failed: blank: its text is empty or blank"


def test_only_some_of_many_failures_are_printed(taskvec: Taskvec) -> None:
    done = taskvec("ingest", "-", *ingest_arguments(TO), stdin=rows(**TEXTS) + "oops\n" * 30)
    assert done.err.count("failed: ") == 20
    assert "... and 10 more" in done.err


def test_a_dry_run_refuses_what_the_run_would(taskvec: Taskvec) -> None:
    done = taskvec("ingest", "-", *ingest_arguments(TO, "--dimensions", 9999, "--dry-run"), stdin='{"text": "a"}\n')
    assert done.code == 1
    assert "dimensions is 9999, but this model's vectors have 384" in done.err


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
def test_doubled_ids_are_said(taskvec: Taskvec, dry_run: list[str]) -> None:
    given = lines(*({"id": number % 2, "text": f"text {number}"} for number in range(5)))
    done = taskvec("ingest", "-", *ingest_arguments(TO, *dry_run), stdin=given)
    assert done.code == 0
    assert (
        "3 times the id of an earlier document came again, or its text where there was no id (such as '0'): the last one counts"
        in done.err
    )


def test_a_dry_run_counts_and_writes_nothing(taskvec: Taskvec, tmp_path: Path, mini: Encoder) -> None:
    given = rows(long=LONG, **TEXTS) + "oops\n"
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
    said = taskvec("ingest", "-", *arguments, stdin=rows(long=LONG)).out
    from taskvec import Usage
    from taskvec_integrations.ingestion.chunking import split

    usage = Usage()
    (spans,) = split([LONG], mini, 64)
    if late:
        mini.encode_spans([LONG], [spans], usage=usage)
    else:
        mini.encode_documents([LONG[start:stop] for start, stop in spans], usage=usage)
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
    assert duration(seconds) == said


def test_the_database_is_asked_before_the_model_is_loaded(taskvec: Taskvec) -> None:
    done = taskvec(
        "ingest", "-", "--to", "qdrant://127.0.0.1:1", "--collection", "docs", "--model", "./nowhere", stdin=rows(a="b")
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
        stdin=rows(a="b"),
    )
    (sentence,) = (line for line in done.err.splitlines() if line.startswith("taskvec: "))
    assert done.code == 1
    assert said in sentence
    assert done.err.endswith(f"{sentence}\n")


def test_a_collection_of_other_settings_is_refused(taskvec: Taskvec, native: Path) -> None:
    assert taskvec("ingest", "-", *ingest_arguments(TO, "--dimensions", 64), stdin=rows(**TEXTS)).code == 0
    for others in (["--dimensions", 32], ["--late-chunking", "--dimensions", 64], ["--model", native, "--dimensions", 64]):
        done = taskvec("ingest", "-", *ingest_arguments(TO, *others), stdin=rows(new="text"))
        assert done.code == 1
        assert "use the settings of the collection, or another collection for these" in done.err


def test_wrong_usage_is_exit_2(taskvec: Taskvec) -> None:
    assert taskvec("ingest", "notes").code == 2
    assert taskvec("ingest", "-", *ingest_arguments(TO, "--chunk", 3)).code == 2


def test_a_run_that_an_error_ends_shows_what_was_done(taskvec: Taskvec, monkeypatch: pytest.MonkeyPatch) -> None:
    from taskvec_integrations.qdrant.backend import QdrantBackend

    def full(self: object, points: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(QdrantBackend, "write", full)
    done = taskvec("ingest", "-", *ingest_arguments(TO), stdin=rows(**TEXTS))
    assert done.code == 1
    assert done.err.splitlines()[-1] == "taskvec: [Errno 28] No space left on device"
    assert done.counts("documents")["read"] == 2
    assert done.counts("documents")["written"] == 0


def test_pinecone_by_the_name_of_its_index(taskvec: Taskvec, monkeypatch: pytest.MonkeyPatch) -> None:
    with pinecone(dimension=384) as server:
        monkeypatch.setenv("PINECONE_API_KEY", KEY)
        to = f"pinecone+{server.url}"
        done = taskvec("ingest", "-", *ingest_arguments(to, collection="books"), stdin=rows(**TEXTS))
        assert done.code == 0, done.err
        assert len(server.stored("books")) == 2
        asked = taskvec("search", "bread", "--from", to, *ingest_arguments("", collection="books")[2:], "--json")
        assert json.loads(asked.out.splitlines()[0])["document_id"] == "bread"


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
    taskvec("ingest", "-", *ingest_arguments(TO), stdin=rows(**TEXTS))
    collection = [] if "--collection" in arguments else ["--collection", "docs"]
    done = taskvec("search", *arguments, *collection, "--model", "mini")
    assert done.code == 1
    assert said in done.err.splitlines()[-1]
    assert not (tmp_path / "nowhere").exists()


def test_what_a_search_shows(taskvec: Taskvec) -> None:
    taskvec("ingest", "-", *ingest_arguments(TO), stdin=lines({"id": "[b]", "text": "x" * 600 + " [/bold]", "n": "[red]"}))
    done = taskvec("search", "x", "--from", TO, *ingest_arguments("")[2:])
    assert done.code == 0
    assert "[b] · chunk 0 · " in done.out
    assert "n: [red]" in done.out
    assert "…" in done.out


def test_ray_gets_everything(taskvec: Taskvec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cluster, workers = ModuleType("taskvec_integrations.ray.cluster"), ModuleType("taskvec_integrations.ray")
    seen: dict[str, Any] = {}

    @contextmanager
    def joined(address: str) -> Iterator[None]:
        seen.update(address=address)
        yield
        seen.update(left=True)

    def ingest_dataset(source: Any, url: StoreURL, *, report: IngestReport, progress: Any, **options: Any) -> IngestReport:
        seen.update(options, documents=[one.id for one in source], url=url)
        report.documents.read = report.documents.written = 2
        progress(2, None)
        return report

    workers.ingest_dataset = ingest_dataset  # type: ignore[attr-defined]
    cluster.joined = joined  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "taskvec_integrations.ray", workers)
    monkeypatch.setitem(sys.modules, "taskvec_integrations.ray.cluster", cluster)
    (tmp_path / "docs.jsonl").write_text(rows(**TEXTS))
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


def test_retries_are_shown_as_lines(taskvec: Taskvec, monkeypatch: pytest.MonkeyPatch) -> None:
    from taskvec_integrations.qdrant.backend import QdrantBackend

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
    done = taskvec("ingest", "-", *ingest_arguments(TO, "--retry", 9), stdin=rows(**TEXTS))
    assert (done.code, "1 calls tried again" in done.out) == (0, True)
    assert "docs: TimeoutError: busy; trying again in" in done.err


def test_exit_codes_are_distinct() -> None:
    assert len({console.DONE, 1, 2, console.FAILED, console.INTERRUPTED}) == 5
