"""What a PineconeStore does when a request fails: it tries again, splits what is too large, or ends the run."""

import time
from contextlib import closing
from typing import Any

import pinecone as sdk
import pytest

from support.pinecone import emulator as pinecone_emulator
from support.pinecone.emulator import PineconeServer
from support.pinecone.stores import (
    NUMBERED,
    Connect,
    OpenStore,
    chunks_of,
    stored_chunks,
)
from taskvec import Encoder
from taskvec_integrations.pinecone import PineconeStore
from taskvec_integrations.pinecone.backend import MAX_CONCURRENT_LOOKUPS
from taskvec_integrations.pinecone.errors import reason, refused, retry_after
from taskvec_integrations.store import Document

SDK_TRIES = 4
"""How often the SDK tries by itself, which cannot be told to stop."""

FAULTS: list[tuple[Any, ...]] = [
    *((kind, operation, {}) for operation in ("vectors/upsert", "vectors/list", "vectors/delete") for kind in (503, "reset")),
    (500, "describe_index_stats", {}),
    (504, "vectors/fetch", {}),
    (429, "vectors/upsert", {"headers": {"Retry-After": "1"}}),
    (429, "vectors/upsert", {"landed": True}),
    ("reset", "vectors/upsert", {"landed": True}),
    ("reset", "vectors/delete", {"landed": True}),
]


@pytest.mark.parametrize(("kind", "operation", "how"), FAULTS, ids=str)
def test_what_passes_is_tried_again_and_nothing_is_lost_or_doubled(
    open_store: OpenStore, narrow: PineconeServer, kind: Any, operation: str, how: dict[str, Any]
) -> None:
    open_store().ingest([*NUMBERED[:20], Document("cut", chunks=["a", "b"])])
    narrow.fail(kind, operation, times=SDK_TRIES * (MAX_CONCURRENT_LOOKUPS if operation == "vectors/list" else 1), **how)
    start = time.perf_counter()
    report = open_store().ingest([*((number, f"new {text}") for number, text in NUMBERED), Document("cut", chunks=["a"])])
    assert time.perf_counter() - start >= ("headers" in how)  # the second that the server asked for; no upper bound
    assert stored_chunks(narrow) == sorted([("cut", 0, "a"), *((str(number), 0, f"new {text}") for number, text in NUMBERED)])
    assert (report.chunks.written, report.chunks.skipped, report.chunks.deleted, report.failed) == (40, 1, 1, [])
    assert report.retries >= 1


def test_the_sdk_tries_again_and_we_do_not_multiply_that(open_store: OpenStore, narrow: PineconeServer) -> None:
    store = open_store(retry_seconds=0)
    store.ingest([])
    narrow.requests.clear()
    narrow.fail(503, "vectors/upsert")
    with pytest.raises(Exception, match="told to fail"):
        store.ingest(NUMBERED)
    assert 1 <= len(narrow.sent("vectors/upsert")) <= SDK_TRIES


def test_a_request_that_is_too_large_is_split(
    open_store: OpenStore, narrow: PineconeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pinecone_emulator, "MAX_BODY", 4000)
    report = open_store().ingest([*NUMBERED, Document("huge", "x", payload={"k": "y" * 4000})])
    assert 413 in [request.status for request in narrow.requests]
    assert stored_chunks(narrow) == chunks_of(NUMBERED)
    assert [failure.document_id for failure in report.failed] == ["huge"]
    assert report.failed[0].reason.startswith("413: ")
    assert report.retries == 0


def test_a_wrong_key_ends_the_run(narrow: PineconeServer, short: Encoder) -> None:
    index = sdk.Pinecone(api_key="wrong").index(host=narrow.url)
    with closing(index), pytest.raises(Exception, match="Invalid API Key"):
        PineconeStore(index, encoder=short).ingest(NUMBERED)
    assert len(narrow.requests) == 1


class Forgetful:
    """An index that takes one record fewer than it is sent, once."""

    def __init__(self, index: Any) -> None:
        self._index = index
        self._left = 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)

    def upsert(self, vectors: list[Any], **options: Any) -> Any:
        forgets = self._left and len(vectors) > 1
        self._left -= bool(forgets)
        return self._index.upsert(vectors=vectors[1:] if forgets else vectors, **options)


def test_records_that_were_not_taken_are_sent_again(narrow: PineconeServer, connect: Connect, short: Encoder) -> None:
    report = PineconeStore(Forgetful(connect()), encoder=short, namespace="docs").ingest(NUMBERED)
    assert report.retries == 1
    assert stored_chunks(narrow) == chunks_of(NUMBERED)


def test_errors_that_say_nothing() -> None:
    assert retry_after(KeyError("x")) is None
    assert retry_after(TimeoutError()) == 0.0
    assert not refused(KeyError("x"))
    assert reason(ValueError()) == "ValueError"
