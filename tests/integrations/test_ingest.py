"""The pipeline over a database in a dictionary: order, bounds, overlap, trouble, and what is left when a run ends early."""

import asyncio
import contextlib
import re
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.fake_backend import BusyError, FakeBackend, FakeCollection, FakeStore, ForbiddenError
from taskvec import Encoder
from taskvec_integrations.ingestion.report import Counts, Failure, IngestReport
from taskvec_integrations.store import Document

Trouble = Callable[[str, Sequence[Any]], None]


@pytest.fixture(scope="module")
def small(short_folder: Path) -> Iterator[Encoder]:
    """An encoder that works in blocks of 512 characters."""
    with Encoder.from_pretrained(short_folder, dtype="float32", device="cpu", max_batch_tokens=16) as encoder:
        yield encoder


def texts(count: int) -> list[tuple[int, str]]:
    return [(number, f"text {number}") for number in range(count)]


def store_of(encoder: Encoder, trouble: Trouble | None = None, **limits: Any) -> FakeStore:
    options = {name: limits.pop(name) for name in ("late_chunking", "retry_seconds", "chunk_tokens") if name in limits}
    return FakeStore(FakeBackend({}, **({"trouble": trouble} if trouble else {}), **limits), encoder=encoder, **options)


def busy_times(count: int, *methods: str, seconds: float = 0.0) -> Trouble:
    left = [count]

    def trouble(method: str, batch: Sequence[Any]) -> None:
        if method in methods and left[0]:
            left[0] -= 1
            raise BusyError(seconds)

    return trouble


def assert_all_written(store: FakeStore, encoder: Encoder, documents: Sequence[tuple[int, str]]) -> None:
    wanted = encoder.encode_documents([text for _, text in documents])
    assert store.vectors.keys() == {(str(id), 0) for id, _ in documents}
    np.testing.assert_allclose([store.vectors[str(id), 0] for id, _ in documents], wanted, atol=1e-6)


# Whatever comes: runs over a few documents that change, come twice, or are refused, against a plain dictionary.

WORDS = ("one", "two", "three", "bad")
MANY = 60
DOCUMENT = st.tuples(st.sampled_from("abc"), st.lists(st.sampled_from(WORDS), min_size=1, max_size=4), st.sampled_from((1, 2)))


def refuse_bad(method: str, batch: Sequence[Any]) -> None:
    if method == "write" and any("bad" in point.text for point in batch):
        raise ValueError("a bad word")


@settings(max_examples=MANY, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=st.lists(st.lists(DOCUMENT, max_size=6), min_size=1, max_size=3), late=st.booleans(), payloads=st.booleans())
def test_the_collection_is_what_a_dictionary_would_be(
    small: Encoder, runs: list[list[tuple[str, list[str], int]]], late: bool, payloads: bool
) -> None:
    server: dict[str, FakeCollection] = {}
    model: dict[tuple[str, int], tuple[str, int]] = {}
    for run in runs:
        backend = FakeBackend(server, trouble=refuse_bad, writes_payloads=payloads, max_batch_points=3)
        report = FakeStore(backend, encoder=small, late_chunking=late).ingest(
            Document(id, chunks=words, payload={"v": version}) for id, words, version in run
        )
        assert report.documents.read == len(run) == report.documents.done
        assert report.chunks.read == sum(len(words) for _, words, _ in run) == report.chunks.done
        for id, words, version in run:
            if "bad" not in words:  # else the older version is all there is, and none of it is deleted
                model = {key: value for key, value in model.items() if key[0] != id or key[1] < len(words)}
            model |= {(id, chunk): (word, version) for chunk, word in enumerate(words) if word != "bad"}
    held = [fields for fields, _ in server["docs"].points.values()]
    kept = {(f["document_id"], f["chunk"]): (f["text"], f["v"]) for f in held}
    # A chunk that was refused leaves the one before it, which the plain dictionary forgets nothing of either.
    assert kept == model
    if not late:
        for fields, vector in server["docs"].points.values():
            np.testing.assert_allclose(vector, small.encode_documents(fields["text"]), atol=1e-6)


def test_a_new_payload_for_a_chunk_that_was_refused(small: Encoder) -> None:
    store = store_of(small, refuse_bad)
    report = store.ingest([Document("a", chunks=["bad", "good"], payload={"v": version}) for version in (1, 2)])
    assert report.failed == [Failure("a", "a bad word", 0)] * 2
    assert (report.documents.failed, report.chunks.written, report.chunks.failed) == (2, 2, 2)


@pytest.mark.parametrize("payload", [{"v": 1}, {"v": 2}], ids=["same payload", "new payload"])
def test_what_was_refused_long_before_does_not_count(small: Encoder, payload: dict[str, int]) -> None:
    store = store_of(small, refuse_bad, threaded=False, max_batch_points=1)
    store.ingest([Document("a", chunks=["one", "two", "three"], payload={"v": 1})])
    again = [Document("a", chunks=["bad"], payload={"v": 1}), *texts(2000), Document("a", chunks=["one", "two"], payload=payload)]
    assert store.ingest(again).failed == [Failure("a", "a bad word", 0)]
    held = [fields for fields, _ in store.backend.server["docs"].points.values() if fields["document_id"] == "a"]
    assert [(fields["chunk"], fields["text"], fields["v"]) for fields in held] == [
        (0, "one", payload["v"]),
        (1, "two", payload["v"]),
    ]


# Bounds and overlap.


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

    def slow(method: str, batch: Sequence[Any]) -> None:
        if method == "write":
            assert encoded.wait(10), "nothing was encoded while the first batch was being written"

    monkeypatch.setattr(small, "encode_iter", watched)
    store = store_of(small, slow, max_batch_points=32)
    store.ingest(texts(300))
    assert len(store.vectors) == 300
    assert any(name.startswith("taskvec-upload") for name in store.backend.threads)


def test_a_database_that_hangs_stops_the_reading(small: Encoder) -> None:
    """Nothing grows without bound: with writes held up, only so many documents are read."""
    go, read = threading.Event(), [0]

    def hang(method: str, batch: Sequence[Any]) -> None:
        if method == "write":
            go.wait(10)

    def documents() -> Iterator[tuple[int, str]]:
        for number, text in texts(6000):
            read[0] = number + 1
            yield number, text

    store = store_of(small, hang, max_batch_points=16)
    reports: list[IngestReport] = []
    thread = threading.Thread(target=lambda: reports.append(store.ingest(documents())))
    thread.start()
    before = -1
    while before != read[0]:
        before = read[0]
        time.sleep(0.3)
    assert 0 < before < 2500
    go.set()
    thread.join()
    assert reports[0].chunks.written == 6000
    assert 16 < reports[0].most_under_way < 2500


def test_an_engine_that_wants_one_thread_gets_one(small: Encoder) -> None:
    store = store_of(small, threaded=False)
    assert store.ingest(texts(3000)).chunks.written == 3000
    assert store.backend.threads == {threading.current_thread().name}


# Trouble.


@pytest.mark.parametrize("method", ["find", "create", "stored", "write", "delete", "write_payloads"])
def test_a_busy_server_is_asked_again_and_nothing_is_lost(small: Encoder, method: str) -> None:
    store = store_of(small, busy_times(4, method), max_batch_points=8)
    store.ingest([("edited", "a"), Document("cut", chunks=["a", "b"]), *texts(50)])
    again = [Document("cut", chunks=["a"]), Document("edited", "a", payload={"new": 1}), *texts(50)]
    report = store.ingest(again)
    assert store.vectors.keys() == {("cut", 0), ("edited", 0), *((str(n), 0) for n in range(50))}
    assert (report.chunks.encoded, report.chunks.written, report.chunks.deleted) == (0, 1, 1)
    assert_all_written(store, small, [*texts(50), ("cut", "a"), ("edited", "a")])
    tried = sum(count for name, count in ((name, 1) for name, _ in store.backend.calls) if name == method)
    assert tried >= 5


def test_the_server_says_when_to_come_back(small: Encoder) -> None:
    store = store_of(small, busy_times(2, "write", seconds=0.2))
    report = store.ingest(texts(5))
    assert report.retries == 2
    assert report.seconds_uploading >= 0.4
    assert report.chunks.written == 5


@pytest.mark.parametrize("seconds", [0.0, 3600.0], ids=["never", "in an hour"])
def test_a_server_that_stays_busy_ends_the_run_and_the_next_goes_on(small: Encoder, seconds: float) -> None:
    writes = [0]

    def trouble(method: str, batch: Sequence[Any]) -> None:
        writes[0] += method == "write"
        if method == "write" and 3 <= writes[0] < 10**6:
            raise BusyError(seconds)

    store = store_of(small, trouble, max_batch_points=10, retry_seconds=0.2)
    start = time.perf_counter()
    with pytest.raises(BusyError, match="busy") as caught:
        store.ingest(texts(500))
    assert time.perf_counter() - start < 5
    assert "20 written" in caught.value.__notes__[0]
    assert len(store.vectors) == 20
    writes[0] = 10**6
    report = store.ingest(texts(500))
    assert (report.chunks.skipped, report.chunks.written) == (20, 480)
    assert_all_written(store, small, texts(500))


def test_a_refused_batch_is_split_to_the_points_that_are_bad(small: Encoder) -> None:
    documents = [(number, "a bad text" if number in (7, 8, 63) else f"text {number}") for number in range(64)]
    store = store_of(small, refuse_bad, max_batch_points=64)
    report = store.ingest(documents)
    assert report.failed == [Failure(id, "a bad word", 0) for id in ("7", "8", "63")]
    assert (report.documents.written, report.documents.failed, report.chunks.failed) == (61, 3, 3)
    assert len([method for method, _ in store.backend.calls if method == "write"]) <= 1 + 2 * 3 * 6
    assert report.retries == 0
    assert_all_written(store, small, [one for one in documents if one[1] != "a bad text"])


def test_what_would_refuse_every_batch_ends_the_run_at_once(small: Encoder) -> None:
    def forbid(method: str, batch: Sequence[Any]) -> None:
        if method == "write":
            raise ForbiddenError("wrong key")

    store = store_of(small, forbid, max_batch_points=8)
    with pytest.raises(ForbiddenError, match="wrong key"):
        store.ingest(texts(2000))
    assert [method for method, _ in store.backend.calls].count("write") == 1
    assert store.vectors == {}


def test_a_second_maker_of_the_collection_finds_the_first_ones(small: Encoder) -> None:
    server: dict[str, FakeCollection] = {}

    def raced(method: str, batch: Sequence[Any]) -> None:
        if method == "create" and not server:
            FakeStore(FakeBackend(server), encoder=small).ingest(["first"])
            raise ForbiddenError("it exists already")

    FakeStore(FakeBackend(server, trouble=raced), encoder=small).ingest(["second"])
    assert len(server["docs"].points) == 2


# Runs that end early.


@contextlib.contextmanager
def interrupts() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also where a shell started the tests with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("where", ["reading", "writing", "waiting to try again"])
def test_ctrl_c_keeps_what_is_written_and_leaves_no_thread(small: Encoder, where: str, caplog: pytest.LogCaptureFixture) -> None:
    writes, main = [0], threading.main_thread().ident
    before = threading.active_count()

    def trouble(method: str, batch: Sequence[Any]) -> None:
        writes[0] += method == "write"
        if method == "write" and writes[0] == 3 and where != "reading":
            threading.Timer(0.1, lambda: signal.pthread_kill(main, signal.SIGINT)).start()
            if where == "waiting to try again":
                raise BusyError(60)
            time.sleep(0.3)

    def documents() -> Iterator[tuple[int, str]]:
        for number, text in texts(3000):
            if number == 2000 and where == "reading":
                signal.raise_signal(signal.SIGINT)
            yield number, text

    store = store_of(small, trouble, max_batch_points=16)
    start = time.perf_counter()
    with interrupts(), pytest.raises(KeyboardInterrupt) as caught:
        store.ingest(documents())
    assert time.perf_counter() - start < 10
    assert "ended early: KeyboardInterrupt" in caplog.text
    assert caught.value.__notes__[0].startswith("Ingested into docs before this")
    written = len(store.vectors)
    assert 0 < written < 3000
    assert f"{written:,} written" in caught.value.__notes__[0]
    assert store.backend.finished == 1
    del caught
    assert threading.active_count() <= before + 1  # the timer may still be about
    assert store.ingest(texts(3000)).chunks.written == 3000 - written
    assert len(store.vectors) == 3000


def test_cancelling_a_coroutine_ends_the_run(small: Encoder) -> None:
    store, started = store_of(small, max_batch_points=16), threading.Event()

    async def endless() -> AsyncIterator[tuple[int, str]]:
        number = 0
        while True:
            yield number, f"text {number}"
            number += 1
            if store.backend.server and len(store.backend.server["docs"].points) > 100:
                started.set()

    async def run() -> None:
        task = asyncio.create_task(store.aingest(endless()))
        while not started.is_set():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    written = len(store.vectors)
    time.sleep(0.2)
    assert len(store.vectors) == written >= 100


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_cancelling_ends_the_reading_of_what_is_stored_already(small: Encoder, is_async: bool) -> None:
    """Nothing is encoded then, whose batches would notice."""
    store = store_of(small)
    store.ingest(texts(100))
    read, closed = [0], [0]

    def endless() -> Iterator[tuple[int, str]]:
        while True:
            read[0] += 1
            yield read[0] % 100, f"text {read[0] % 100}"

    async def slowly() -> AsyncIterator[tuple[int, str]]:
        try:
            for document in endless():
                if read[0] % 50 == 0:
                    await asyncio.sleep(0)
                yield document
        finally:
            closed[0] += 1

    async def run() -> None:
        source = slowly() if is_async else endless()  # kept here, so that only aingest can close it
        task = asyncio.create_task(store.aingest(source))
        while read[0] < 1000:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        at_cancel = read[0]
        await asyncio.sleep(0.3)
        assert read[0] - at_cancel <= (0 if is_async else 1)  # the thread may have been between two
        assert closed[0] == is_async

    asyncio.run(run())


def test_cancelling_while_the_source_waits(small: Encoder) -> None:
    store = store_of(small)

    async def silent() -> AsyncIterator[str]:
        yield "first"
        await asyncio.Event().wait()

    async def run() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(store.aingest(silent()), 0.3)

    start = time.perf_counter()
    asyncio.run(run())
    assert time.perf_counter() - start < 5


# What is said.


def test_progress_tells_documents_done_and_ends_with_all(small: Encoder) -> None:
    told: list[tuple[int, int | None]] = []
    store_of(small).ingest(texts(2000), progress=lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (2000, 2000)
    assert len({done for done, _ in told}) > 3
    told.clear()
    store_of(small).ingest(iter(texts(3)), progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (3, None)


def test_a_bar_is_drawn(small: Encoder, capsys: pytest.CaptureFixture[str]) -> None:
    store_of(small).ingest(texts(10), progress=True)
    said = capsys.readouterr()
    assert "ingesting" in said.err
    assert "10/10" in said.err
    assert said.out == ""


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


def test_an_engine_without_payload_writes_encodes_again(small: Encoder) -> None:
    store = store_of(small, writes_payloads=False)
    store.ingest([Document("a", "text", payload={"v": 1})])
    report = store.ingest([Document("a", "text", payload={"v": 2})])
    assert (report.chunks.encoded, report.chunks.written) == (1, 1)
    assert next(iter(store.backend.server["docs"].points.values()))[0]["v"] == 2


def test_finish_is_called_when_something_was_written(small: Encoder) -> None:
    store = store_of(small)
    store.ingest(texts(3))
    store.ingest(texts(3))
    assert store.backend.finished == 1


@pytest.mark.parametrize("documents", ["a text", {"a": "b"}, Document("a", "b"), 3, None], ids=repr)
def test_what_is_no_iterable_of_documents_is_refused(small: Encoder, documents: Any) -> None:
    with pytest.raises(TypeError, match=r"documents is .*: a list or another iterable of documents was expected"):
        store_of(small).ingest(documents)


@pytest.mark.parametrize("documents", [("a", "text"), (3, "text")], ids=repr)
def test_a_pair_without_a_list_around_it_is_refused(small: Encoder, documents: Any) -> None:
    with pytest.raises(TypeError, match=r"documents is the tuple \(.*, 'text'\): put it in a list"):
        store_of(small).ingest(documents)
    assert store_of(small).ingest((("a", "text"), ("b", "text"))).chunks.written == 2


def test_a_progress_that_is_none_is_refused_before_anything_is_written(small: Encoder) -> None:
    store = store_of(small)
    with pytest.raises(TypeError, match="progress is 5: True, False or a function"):
        store.ingest(["a"], progress=5)  # type: ignore[arg-type]
    assert store.backend.server == {}


def test_a_run_that_never_began_has_no_report(small: Encoder, caplog: pytest.LogCaptureFixture) -> None:
    store_of(small)
    for error in (BusyError(0.0), ForbiddenError("wrong key")):

        def fail(method: str, batch: Sequence[Any], error: Exception = error) -> None:
            raise error

        with pytest.raises(type(error)) as caught:
            store_of(small, fail, retry_seconds=0).ingest(["a"])
        assert not hasattr(caught.value, "__notes__")
    assert not caplog.records


def test_the_first_time_that_a_call_is_tried_again_is_told(small: Encoder, caplog: pytest.LogCaptureFixture) -> None:
    store = store_of(small, busy_times(3, "find"), retry_seconds=60)
    store.ingest(["a"])
    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert re.fullmatch(r"docs: BusyError: busy, come back in 0\.0 s; trying again in 0\.0 s, and for up to 60 s in all", told)


@pytest.mark.parametrize(
    ("settings_", "error", "said"),
    [
        ({"chunk_tokens": 3}, ValueError, "chunk_tokens is 3: use at least 8, or None"),
        ({"chunk_tokens": "many"}, TypeError, "chunk_tokens is 'many'"),
        ({"retry_seconds": -1}, ValueError, "retry_seconds is -1"),
    ],
    ids=["few", "word", "negative"],
)
def test_settings_are_checked_when_a_store_is_made(
    small: Encoder, settings_: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        store_of(small, **settings_)


def test_a_query_that_is_no_text_is_refused(small: Encoder) -> None:
    store = store_of(small)
    store.ingest(["a"])
    with pytest.raises(TypeError, match=r"query is \['a'\]: a str was expected"):
        store.search(["a"])  # type: ignore[arg-type]


def test_dimensions_that_the_model_lacks_are_refused_before_a_collection_is_made(small: Encoder) -> None:
    store = FakeStore(FakeBackend({}), encoder=small, dimensions=99)
    with pytest.raises(ValueError, match="dimensions is 99, but this model's vectors have 32"):
        store.ingest(["a"])
    assert store.backend.server == {}


def test_an_error_of_the_progress_function_is_the_callers(small: Encoder) -> None:
    def tell(done: int, total: int | None) -> None:
        raise RuntimeError("my own mistake")

    with pytest.raises(RuntimeError, match="my own mistake"):
        store_of(small).ingest(texts(3), progress=tell)
