"""Servers that are busy, refuse points or refuse everything: calls are made again, batches split, runs ended, nothing lost."""

import re
from collections.abc import Sequence
from typing import Any

import pytest

from support.fake_backend import BusyError, ForbiddenError, refuse_bad
from support.ingest_runs import Pair, assert_all_written, busy_times, count_calls, store_of, texts
from taskvec import Encoder
from taskvec_integrations.ingestion.documents import Input
from taskvec_integrations.ingestion.report import Failure
from taskvec_integrations.store import Document


def waits(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The seconds of each wait before a call was made again, as logged."""
    return re.findall(r"trying again in ([\d.]+) s", caplog.text)


@pytest.mark.parametrize("method", ["find", "create", "stored", "write", "delete", "write_payloads"])
def test_a_busy_server_is_asked_again_and_nothing_is_lost(small: Encoder, method: str) -> None:
    store = store_of(small, busy_times(4, method), max_batch_points=8)
    first: list[Input] = [("edited", "a"), Document("cut", chunks=["a", "b"]), *texts(50)]
    store.ingest(first)
    again: list[Input] = [Document("cut", chunks=["a"]), Document("edited", "a", payload={"new": 1}), *texts(50)]
    report = store.ingest(again)
    assert store.vectors.keys() == {("cut", 0), ("edited", 0), *((str(n), 0) for n in range(50))}
    assert (report.chunks.encoded, report.chunks.written, report.chunks.deleted) == (0, 1, 1)
    assert_all_written(store, small, [*texts(50), ("cut", "a"), ("edited", "a")])
    assert count_calls(store, method) >= 5


def test_the_server_says_when_to_come_back(small: Encoder, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "taskvec")
    store = store_of(small, busy_times(2, "write", seconds=0.2))
    report = store.ingest(texts(5))
    assert report.retries == 2
    assert waits(caplog) == ["0.2", "0.2"]
    assert report.seconds_uploading >= 0.4
    assert report.chunks.written == 5


@pytest.mark.parametrize("seconds", [0.0, 3600.0], ids=["never", "in an hour"])
def test_a_server_that_stays_busy_ends_the_run_and_the_next_goes_on(
    small: Encoder, seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "taskvec")
    writes, is_busy = 0, True

    def trouble(method: str, batch: Sequence[Any]) -> None:
        nonlocal writes
        writes += method == "write"
        if method == "write" and writes >= 3 and is_busy:
            raise BusyError(seconds)

    store = store_of(small, trouble, max_batch_points=10, retry_seconds=0.2)
    with pytest.raises(BusyError, match="busy") as caught:
        store.ingest(texts(500))
    assert not [wait for wait in waits(caplog) if float(wait) > 0.2]
    assert "20 written" in caught.value.__notes__[0]
    assert len(store.vectors) == 20
    is_busy = False
    report = store.ingest(texts(500))
    assert (report.chunks.skipped, report.chunks.written) == (20, 480)
    assert_all_written(store, small, texts(500))


def test_a_refused_batch_is_split_to_the_points_that_are_bad(small: Encoder) -> None:
    documents: list[Pair] = [(number, "a bad text" if number in (7, 8, 63) else f"text {number}") for number in range(64)]
    store = store_of(small, refuse_bad, max_batch_points=64)
    report = store.ingest(documents)
    assert report.failed == [Failure(id, "a bad word", 0) for id in ("7", "8", "63")]
    assert (report.documents.written, report.documents.failed, report.chunks.failed) == (61, 3, 3)
    assert count_calls(store, "write") <= 1 + 2 * 3 * 6
    assert report.retries == 0
    assert_all_written(store, small, [document for document in documents if document[1] != "a bad text"])


def test_what_would_refuse_every_batch_ends_the_run_at_once(small: Encoder) -> None:
    def forbid(method: str, batch: Sequence[Any]) -> None:
        if method == "write":
            raise ForbiddenError("wrong key")

    store = store_of(small, forbid, max_batch_points=8)
    with pytest.raises(ForbiddenError, match="wrong key"):
        store.ingest(texts(2000))
    assert count_calls(store, "write") == 1
    assert store.vectors == {}


def test_a_run_that_never_began_has_no_report(small: Encoder, caplog: pytest.LogCaptureFixture) -> None:
    for error in (BusyError(0.0), ForbiddenError("wrong key")):

        def fail(method: str, batch: Sequence[Any], error: Exception = error) -> None:
            raise error

        with pytest.raises(type(error)) as caught:
            store_of(small, fail, retry_seconds=0).ingest(["a"])
        assert not hasattr(caught.value, "__notes__")
    assert not caplog.records


def test_the_first_time_that_a_call_is_tried_again_is_logged_as_a_warning(
    small: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_of(small, busy_times(3, "find"), retry_seconds=60)
    store.ingest(["a"])
    (message,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert re.fullmatch(r"docs: BusyError: busy, come back in 0\.0 s; trying again in 0\.0 s, and for up to 60 s in all", message)
