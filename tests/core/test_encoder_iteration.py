"""Iterating: lazily, in order and in bounded memory; errors after the vectors before them; progress."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from support.inside import stop
from support.reference import assert_close, words
from taskvec import Encoder
from taskvec.pooling import Vectors


def test_encode_iter_is_lazy_ordered_and_bounded(short: Encoder) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield words(taken % 5 + 1, taken)

    vectors = short.encode_iter(endless(), dimensions=6)
    assert taken == 0
    first = [next(vectors) for _ in range(10)]
    seen = taken
    assert seen <= 3 * 4096
    assert_close(np.stack(first), short.encode([words(i % 5 + 1, i) for i in range(1, 11)], dimensions=6))
    for _ in range(5000):
        next(vectors)
    assert taken <= seen + 3 * 4096
    stop(vectors)
    assert not [t for t in threading.enumerate() if t.name.startswith("taskvec-ahead")]


def test_good_texts_before_a_bad_one_are_not_lost(short: Encoder) -> None:
    for count in (3, 9000):
        got: list[Vectors] = []
        with pytest.raises(TypeError, match=f"text {count} is int"):
            got.extend(short.encode_iter([*(["a b"] * count), 7, "c"]))  # type: ignore[list-item]
        assert len(got) == count


def test_good_texts_before_one_too_long_are_not_lost(short: Encoder) -> None:
    got: list[Vectors] = []
    with pytest.raises(ValueError, match="text 5 has"):
        got.extend(short.encode_iter([*(["a b"] * 5), words(100), "c"], truncate=False))
    assert len(got) == 5


def test_documents_and_spans_may_be_generators(encoder: Encoder) -> None:
    chunks = [["a b", "c"], ["d"]]
    from_generators = encoder.encode_chunks(iter(one) for one in chunks)
    for ours, theirs in zip(from_generators, encoder.encode_chunks(chunks), strict=True):
        assert_close(ours, theirs)
    spans = encoder.encode_spans((text for text in ["a b c"]), (iter([(0, 3), (3, 5)]) for _ in range(1)))
    assert_close(spans[0], encoder.encode_spans(["a b c"], [[(0, 3), (3, 5)]])[0])


def test_encode_spans_iter_is_encode_spans_document_by_document(short: Encoder) -> None:
    generator = np.random.default_rng(5)
    texts = [words(int(length), seed) for seed, length in enumerate(generator.integers(1, 120, 40))]  # some need windows
    spans = [[(0, 1), (0, len(text))][: seed % 3] for seed, text in enumerate(texts)]  # and some have no spans
    got = list(short.encode_spans_iter(zip(texts, spans, strict=True), dimensions=6, task=None))
    wanted = short.encode_spans(texts, spans, dimensions=6, task=None)
    assert [vectors.shape for vectors in got] == [(len(spans_of_text), 6) for spans_of_text in spans]
    assert_close(np.concatenate(got), np.concatenate(wanted))
    assert [vectors.shape for vectors in short.encode_spans_iter([("a", []), ("b", [])])] == [(0, 32)] * 2
    assert_close(next(short.encode_spans_iter([("a b", [(0, 3)])])), short.encode_documents(["a b"]))


def test_encode_spans_iter_is_lazy_and_keeps_what_came_before_an_error(short: Encoder) -> None:
    taken = 0

    def source(count: int, bad: object) -> Iterator[Any]:
        nonlocal taken
        for taken in range(1, count + 1):
            yield str(taken), [(0, 1)]
        yield bad

    vectors = short.encode_spans_iter(source(20_000, None))
    assert taken == 0
    next(vectors)
    assert 0 < taken <= 3 * 4096
    stop(vectors)
    errors: list[tuple[object, type[Exception], str]] = [
        ("ab", TypeError, "document 4500 is str: a pair of a text and a list of spans"),
        ((3, []), TypeError, "document 4500 is int: a str"),
        (("a", 3), TypeError, "the second part of document 4500 is int: a list"),
        (("a", [(0, 2)]), ValueError, r"document 4500, span 0 is \(0, 2\)"),
    ]
    for bad, kind, message in errors:
        got: list[Vectors] = []
        with pytest.raises(kind, match=message):
            got.extend(short.encode_spans_iter(source(4500, bad)))
        assert len(got) == 4500


def test_an_error_of_the_source_comes_through(short: Encoder) -> None:
    def source() -> Iterator[str]:
        yield "a"
        raise OSError("the disk is gone")

    vectors = short.encode_iter(source())
    assert next(vectors).shape == (32,)
    with pytest.raises(OSError, match="the disk is gone"):
        next(vectors)


def test_the_source_is_read_in_the_callers_thread(short: Encoder) -> None:
    threads = set()

    def source() -> Iterator[str]:
        for i in range(9000):
            threads.add(threading.current_thread())
            yield f"a {i}"

    assert sum(1 for _ in short.encode_iter(source())) == 9000
    assert threads == {threading.current_thread()}


def test_progress_reports_every_batch(short: Encoder, capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[tuple[int, int | None]] = []
    short.encode([words(20)] * 300, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (300, 300)
    assert len(calls) > 3
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    calls.clear()
    short.encode_chunks([[words(5)] * 40] * 3, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (120, 120)
    short.encode(["a"] * 3)
    assert capsys.readouterr() == ("", "")
    short.encode(["a"] * 3, progress=True)
    assert "3/3" in capsys.readouterr().err


def test_an_error_in_the_callback_stops_the_work(short: Encoder) -> None:
    def callback(done: int, total: int | None) -> None:
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        short.encode([words(20)] * 9000, progress=callback)
