"""What a run says: progress, a bar, the report, chunks that were cut."""

import pytest

from support.ingest_runs import store_of, texts
from taskvec import Encoder
from taskvec_integrations.ingestion.report import Counts, Failure, IngestReport


def test_progress_tells_documents_done_and_ends_with_all(small: Encoder) -> None:
    calls: list[tuple[int, int | None]] = []
    store_of(small).ingest(texts(2000), progress=lambda done, total: calls.append((done, total)))
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert calls[-1:] == [(2000, 2000)]
    assert len({done for done, _ in calls}) > 3
    calls.clear()
    store_of(small).ingest(iter(texts(3)), progress=lambda done, total: calls.append((done, total)))
    assert calls[-1:] == [(3, None)]


def test_a_bar_is_drawn(small: Encoder, capsys: pytest.CaptureFixture[str]) -> None:
    store_of(small).ingest(texts(10), progress=True)
    printed = capsys.readouterr()
    assert "ingesting" in printed.err
    assert "10/10" in printed.err
    assert printed.out == ""


def test_the_report_can_be_read() -> None:
    report = IngestReport(
        documents=Counts(read=1200, skipped=1, encoded=1190, written=1198, failed=1),
        chunks=Counts(read=5000, encoded=4000, written=4100, skipped=899, failed=1, deleted=7),
        failed=[Failure("a", "too large", 3), *(Failure(f"b{n}", "empty") for n in range(24))],
        truncated=2,
        retries=3,
        most_under_way=1024,
        seconds=12.34,
        seconds_encoding=11.0,
        seconds_uploading=4.0,
    )
    lines = str(report).splitlines()
    assert lines[:5] == [
        "documents: 1,200 read: 1,190 encoded, 1,198 written, 1 skipped, 1 failed, 0 deleted",
        "chunks:    5,000 read: 4,000 encoded, 4,100 written, 899 skipped, 1 failed, 7 deleted",
        "12.3 s, 11.0 s encoding, 4.0 s uploading, 3 calls tried again, at most 1,024 chunks under way at once",
        "2 chunks were cut at the length of the model's context",
        "failed: a, chunk 3: too large",
    ]
    assert lines[-1] == "... and 5 more in report.failed"


def test_chunks_longer_than_the_context_are_cut_and_counted(small: Encoder) -> None:
    long = " ".join(["word"] * 200)
    assert store_of(small, chunk_tokens=None).ingest([long, "short"]).truncated == 1
    late = store_of(small, chunk_tokens=None, late_chunking=True)
    assert late.ingest([long, "short"]).truncated == 0  # it is read in windows
    split = store_of(small, chunk_tokens=32).ingest([long])
    assert (split.truncated, split.documents.written) == (0, 1)
    assert split.chunks.written > 6
