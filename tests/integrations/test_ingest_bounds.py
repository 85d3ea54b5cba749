"""Batches are bounded, reading, encoding and writing overlap, and nothing that waits grows without bound."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from support.ingest_runs import store_of, texts
from taskvec import Encoder
from taskvec_integrations.ingestion import upload
from taskvec_integrations.store import IngestReport

HANGS_SECONDS = 120  # a guard only: what is waited for comes, or the code is wrong


def test_batches_are_bounded_in_points_and_in_bytes(small: Encoder) -> None:
    store = store_of(small, max_batch_points=4, max_batch_bytes=2000, chunk_tokens=None)
    store.ingest([*texts(30), (30, "long " * 300), *((31 + n, "mid " * 100) for n in range(6))])
    sizes = [size for method, size in store.backend.calls if method == "write"]
    assert max(sizes) == 4
    assert sizes.count(1) >= 1  # the long one, which is over the limit by itself
    assert len(store.vectors) == 37
    assert sizes[-6:] == [1] * 6  # two texts of 400 characters weigh more than a batch may


def test_look_ups_are_batched(small: Encoder) -> None:
    store = store_of(small, max_lookup=10)
    store.ingest(texts(35))
    assert [size for method, size in store.backend.calls if method == "stored"] == [10, 10, 10, 5]


def test_encoding_goes_on_while_a_batch_is_written(small: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded, encode_iter = threading.Event(), small.encode_iter

    def watched(*args: Any, **options: Any) -> Iterator[Any]:
        for number, vector in enumerate(encode_iter(*args, **options)):
            if number == 100:
                encoded.set()
            yield vector

    def wait_for_encoding(method: str, batch: Sequence[Any]) -> None:
        if method == "write":
            assert encoded.wait(HANGS_SECONDS), "nothing was encoded while the first batch was being written"

    monkeypatch.setattr(small, "encode_iter", watched)
    store = store_of(small, wait_for_encoding, max_batch_points=32)
    store.ingest(texts(300))
    assert len(store.vectors) == 300
    assert any(name.startswith("taskvec-upload") for name in store.backend.threads)


def test_a_database_that_hangs_stops_the_reading(small: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing grows without bound: with writes held up, only so many documents are read."""
    go_on, is_full, read = threading.Event(), threading.Event(), [0]

    class Slots(threading.Semaphore):
        """Says when none is free."""

        def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
            if super().acquire(blocking=False):
                return True
            is_full.set()
            return super().acquire(blocking, timeout)

    def hang(method: str, batch: Sequence[Any]) -> None:
        if method == "write":
            assert go_on.wait(HANGS_SECONDS)

    def documents() -> Iterator[tuple[int, str]]:
        for number in range(6000):
            read[0] = number + 1
            yield number, f"text {number}"

    monkeypatch.setattr(upload, "Semaphore", Slots)
    store = store_of(small, hang, max_batch_points=16)
    reports: list[IngestReport] = []
    thread = threading.Thread(target=lambda: reports.append(store.ingest(documents())))
    thread.start()
    assert is_full.wait(HANGS_SECONDS)  # the thread that reads waits for a slot
    read_while_hanging = read[0]
    go_on.set()
    thread.join()
    assert 0 < read_while_hanging < 2500
    assert reports[0].chunks.written == 6000
    assert 16 < reports[0].most_under_way < 2500


def test_a_backend_that_wants_one_thread_gets_one(small: Encoder) -> None:
    store = store_of(small, threaded=False)
    assert store.ingest(texts(3000)).chunks.written == 3000
    assert store.backend.threads == {threading.current_thread().name}
