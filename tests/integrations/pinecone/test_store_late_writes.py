"""Writes that Pinecone shows late, and runs that were killed before they showed."""

from math import inf

import pytest

from support.pinecone.emulator import PineconeServer, pinecone
from support.pinecone.stores import (
    NARROW_WIDTH,
    NUMBERED,
    OpenStore,
    chunks_of,
    show_writes_only_at_the_end,
    stored_chunks,
)
from taskvec import Encoder
from taskvec_integrations.ingestion.documents import Input
from taskvec_integrations.pinecone.backend import PineconeBackend
from taskvec_integrations.store import Document


def test_a_run_sees_its_own_writes_however_late_they_show(open_store: OpenStore) -> None:
    with pinecone(NARROW_WIDTH, lag=6) as server:
        documents: list[Input] = [
            Document("x", chunks=["a", "b", "c"]),
            *NUMBERED,
            Document("x", chunks=["a", "d"]),
            *NUMBERED,
            ("x", "last"),
        ]
        report = open_store(server).ingest(documents)
        assert report.chunks.read == report.chunks.done
        assert {hit.text for hit in open_store(server).search("last", 100)} == {"last", *dict(NUMBERED).values()}
        again = open_store(server).ingest([*NUMBERED, ("x", "last")])
        assert (again.chunks.encoded, again.chunks.skipped) == (0, 41)
        assert stored_chunks(server) == sorted([("x", 0, "last"), *chunks_of(NUMBERED)])


def test_what_a_killed_run_wrote_and_does_not_show_is_not_doubled(
    open_store: OpenStore, narrow: PineconeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store().ingest([Document("x", chunks=["a", "b"])])
    narrow.data.lag = inf
    with monkeypatch.context() as patch:
        patch.setattr(PineconeBackend, "finish", lambda self: None)
        open_store().ingest([*NUMBERED, Document("x", chunks=["a", "c"])])
    show_writes_only_at_the_end(narrow, monkeypatch)
    report = open_store().ingest([*NUMBERED, Document("x", chunks=["a", "c"])])
    assert report.chunks.encoded == 41
    assert stored_chunks(narrow) == sorted([("x", 0, "a"), ("x", 1, "c"), *chunks_of(NUMBERED)])


def test_a_run_killed_before_the_old_record_was_deleted_is_repaired(
    open_store: OpenStore, narrow: PineconeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store().ingest([Document("x", chunks=["a", "b"])])
    with monkeypatch.context() as patch:
        patch.setattr(PineconeBackend, "_delete", lambda self, record_ids: None)
        patch.setattr(PineconeBackend, "finish", lambda self: None)
        open_store().ingest([Document("x", chunks=["a", "c"])])
    assert stored_chunks(narrow) == [("x", 0, "a"), ("x", 1, "b"), ("x", 1, "c")]
    assert open_store().ingest([Document("x", chunks=["a", "c"])]).chunks.written == 1
    assert stored_chunks(narrow) == [("x", 0, "a"), ("x", 1, "c")]


def test_a_record_that_never_shows_is_said(open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, short: Encoder) -> None:
    monkeypatch.setattr(PineconeBackend, "visible_seconds", 0.1)
    with (
        pinecone(NARROW_WIDTH, lag=inf) as server,
        pytest.raises(TimeoutError, match=r"could not be read 0\.1 s after it was written"),
    ):
        open_store(server, retry_seconds=0).ingest(NUMBERED)


def test_a_last_change_that_does_not_show_is_a_warning(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, short: Encoder
) -> None:
    with pinecone(NARROW_WIDTH) as server:
        open_store(server).ingest([])
        server.data.lag = inf
        monkeypatch.setattr(PineconeBackend, "visible_seconds", 0.1)
        assert open_store(server).ingest(NUMBERED).chunks.written == 40
        assert "does not show its last change 0.1 s after it was made" in caplog.text
