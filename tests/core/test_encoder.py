"""The public contract: shapes, options, errors, threads, async, iteration, sharing, closing."""

import asyncio
import copy
import gc
import os
import pickle
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support.checkpoints import Shape, random_weights, write_native
from support.paths import ROOT
from support.reference import TEXTS, assert_close, words
from taskvec import Encoder, Task, Usage, runner, shared_encoder
from taskvec.tasks import DOCUMENT_TASK, QUERY_TASK

# Shapes, defaults and tasks


def test_shapes_and_dtypes(encoder: Encoder) -> None:
    assert encoder.encode("bread").shape == (64,)
    assert encoder.encode(["bread"]).shape == (1, 64)
    assert encoder.encode([]).shape == (0, 64)
    assert encoder.encode([], dimensions=5, late_chunking=True).shape == (0, 5)
    assert encoder.encode_spans([], []) == []
    assert encoder.encode_chunks([]) == []
    assert [vectors.shape for vectors in encoder.encode_spans(["ab", "c"], [[], [(0, 1)]])] == [(0, 64), (1, 64)]
    assert encoder.encode(np.array(["a", "b"])).shape == (2, 64)
    assert encoder.encode(text for text in ("a", "b", "c")).shape == (3, 64)
    assert encoder.encode("bread").dtype == np.float32


def test_the_task_follows_the_operation_and_can_be_overridden(encoder: Encoder) -> None:
    def by(task: Task | None) -> np.ndarray:
        return encoder.encode(TEXTS, task=task)

    assert (QUERY_TASK, DOCUMENT_TASK) == (Task.RETRIEVAL_QUERY, Task.RETRIEVAL_PASSAGE)
    assert_close(encoder.encode(TEXTS), by(Task.TEXT_MATCHING))
    assert_close(encoder.encode_queries(TEXTS), by(QUERY_TASK))
    assert_close(encoder.encode_documents(TEXTS), by(DOCUMENT_TASK))
    assert_close(encoder.encode_queries(TEXTS, task="separation"), by(Task.SEPARATION))
    assert_close(encoder.encode_documents(TEXTS, task=None), by(None))
    assert_close(np.stack(list(encoder.encode_iter(TEXTS))), by(Task.TEXT_MATCHING))
    assert_close(encoder.encode_chunks([["bread"]])[0][0], encoder.encode_documents("bread"))
    assert_close(encoder.encode_spans(["bread"], [[(0, 5)]])[0][0], encoder.encode_documents("bread"))


def test_instructions(encoder: Encoder) -> None:
    for task in Task:
        own = encoder.encode("bread", task=task)
        assert_close(encoder.encode("bread", task=task, instruction=task.instruction), own)
        bare = encoder.encode("bread", task=task, instruction="")
        assert np.allclose(bare, own) == (not task.instruction)
        assert_close(encoder.encode(task.instruction + "bread", task=task, instruction=""), own)


def test_attributes(encoder: Encoder, native: Path) -> None:
    assert (encoder.dimensions, encoder.max_tokens, encoder.tasks) == (64, 8192, tuple(Task))
    assert (encoder.model_id, encoder.device, encoder.dtype) == (str(native), torch.device("cpu"), torch.float32)
    assert repr(encoder) == f"Encoder({str(native)!r}, device='cpu', dtype='float32')"
    assert encoder.fingerprint.startswith("sha256:")
    assert encoder.fingerprint.endswith("/mean")


def test_count_tokens(encoder: Encoder) -> None:
    assert encoder.count_tokens(["", "bread"]) == [2, len(encoder._tokenizer.encode(["bread"], "")[0])]
    assert encoder.count_tokens("bread") == encoder.count_tokens(["bread"])
    assert encoder.count_tokens([]) == []


def test_usage_adds_up(short: Encoder) -> None:
    usage = Usage()
    short.encode(["a", words(200)], usage=usage)
    assert (usage.texts, usage.truncated, usage.windows) == (2, 1, 0)
    assert usage.tokens == short.count_tokens("a")[0] + short.max_tokens
    assert list(short.encode_iter([], usage=usage)) == []
    short.encode(["a", "a"], usage=usage)
    assert usage.tokens == 3 * short.count_tokens("a")[0] + short.max_tokens


def test_truncation_cuts_the_text_and_keeps_the_end_token(short: Encoder) -> None:
    long = words(300)
    ids = short._tokenizer.encode([long], "")[0]
    kept = " ".join(long.split()[:12])
    assert short.count_tokens(kept)[0] < short.max_tokens < len(ids)
    assert_close(short.encode(long), short.encode(long + " and more"))
    assert not np.allclose(short.encode(long), short.encode(kept))
    assert_close(short.encode(kept, truncate=False), short.encode(kept))


# Errors

ERRORS: list[tuple[Callable[[Encoder], object], type[Exception], str]] = [
    (lambda e: e.encode("a", task="retrieval"), ValueError,
     r"unknown task 'retrieval': use one of retrieval.query, .*, text-matching, or None"),
    (lambda e: e.encode("a", dimensions=65), ValueError, "dimensions is 65, but this model's vectors have 64: use 1 to 64"),
    (lambda e: e.encode("a", dimensions=0), ValueError, "dimensions is 0, .* 64"),
    (lambda e: e.encode("a", dimensions=-1), ValueError, "dimensions is -1"),
    (lambda e: e.encode("a", dimensions=1.5), TypeError, "dimensions is 1.5: a whole number from 1 to 64"),
    (lambda e: e.encode("a", dimensions=True), TypeError, "dimensions is True"),
    (lambda e: e.encode("a", dimension=3), TypeError, "unexpected keyword argument 'dimension'"),
    (lambda e: e.encode_queries("a", dimension=3), TypeError, "unknown option 'dimension': the options are task, dimensions"),
    (lambda e: e.encode_queries("a", late_chunking=True), TypeError, "unknown option 'late_chunking'"),
    (lambda e: e.encode_spans(["a"], [[(0, 1)]], pooling="cls"), TypeError, "unknown option 'pooling'"),
    (lambda e: e.encode(["a", None]), TypeError, "text 1 is NoneType, a str was expected"),
    (lambda e: e.encode(["a", b"b"]), TypeError, "text 1 is bytes"),
    (lambda e: e.encode([["a"]]), TypeError, "text 0 is list"),
    (lambda e: e.encode(3), TypeError, "texts must be a str or a one-dimensional iterable of str in order, got int"),
    (lambda e: e.encode(b"abc"), TypeError, "in order, got bytes"),
    (lambda e: e.encode(None), TypeError, "got NoneType"),
    (lambda e: e.encode({"a": 1}), TypeError, "in order, got dict"),
    (lambda e: e.encode({"a"}), TypeError, "in order, got set"),
    (lambda e: e.encode(np.array([["a", "b"]])), TypeError, "one-dimensional iterable of str in order, got ndarray"),
    (lambda e: e.encode(np.array("a")), TypeError, "got ndarray"),
    (lambda e: e.encode("a", normalize="no"), TypeError, "normalize is 'no': True or False was expected"),
    (lambda e: e.encode("a", truncate=None), TypeError, "truncate is None"),
    (lambda e: e.encode("a", late_chunking="yes"), TypeError, "late_chunking is 'yes'"),
    (lambda e: e.encode("a", usage={}), TypeError, r"usage is {}: a Usage\(\) or None"),
    (lambda e: e.encode("a", usage=Usage), TypeError, "usage is <class"),
    (lambda e: e.encode(["a", "b\ud800c"]), ValueError, "text 1 has a lone surrogate at character 1.*replace"),
    (lambda e: e.encode(["a", ""], late_chunking=True), ValueError, "chunk 1 is empty: leave it out"),
    (lambda e: e.encode_chunks([["a"], ["b", ""]]), ValueError, "document 1, chunk 1 is empty"),
    (lambda e: e.encode_chunks([["a"], ["b", 3]]), TypeError, "document 1, chunk 1 is int"),
    (lambda e: e.encode_chunks(["ab"]), TypeError, r"document 0 is str, a list was expected: encode_chunks\("),
    (lambda e: e.encode_chunks(None), TypeError, "documents is NoneType, a list was expected"),
    (lambda e: e.encode_chunks([["a"], None]), TypeError, "document 1 is NoneType, a list was expected"),
    (lambda e: e.encode_spans(["a"], None), TypeError, "spans is NoneType, a list was expected"),
    (lambda e: e.encode_spans(["a"], [None]), TypeError, r"spans\[0\] is NoneType, a list was expected"),
    (lambda e: e.encode("a", instruction=3), TypeError, "instruction is int: a str, or None for the task's own"),
    (lambda e: e.encode("a", progress="yes"), TypeError, "progress is 'yes': True, False or a function"),
    (lambda e: e.encode_spans("ab", [[(0, 1)]]), TypeError, r"texts is str, a list was expected: encode_spans\(\[text\], "),
    (lambda e: e.encode_spans(["ab"], []), ValueError, "1 texts came with 0 lists of spans"),
    (lambda e: e.encode_spans(["ab", "cd"], [[(0, 1)], [(0, 1), (1, 1)]]), ValueError, r"document 1, span 1 is \(1, 1\)"),
    (lambda e: e.encode_spans(["ab"], [[(0, 3)]]), ValueError, r"span 0 is \(0, 3\).*stop <= 2"),
    (lambda e: e.encode_spans(["ab"], [[(-1, 1)]]), ValueError, r"span 0 is \(-1, 1\)"),
    (lambda e: e.encode_spans(["ab"], [[(0.0, 1.0)]]), ValueError, "a pair of character positions"),
    (lambda e: e.encode_spans(["ab"], [[5]]), ValueError, "span 0 is 5: a span is a pair"),
    (lambda e: e.encode_iter("abc"), TypeError, "use encode for a single text"),
    (lambda e: e.encode_iter(["a"], dimensions=99), ValueError, "dimensions is 99"),
    (lambda e: e.encode_spans_iter([], dimensions=99), ValueError, "dimensions is 99"),
    (lambda e: list(e.encode_spans_iter("ab")), TypeError, r"documents is str, a list was expected: encode_spans_iter\("),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "message"), ERRORS, ids=lambda value: value if isinstance(value, str) else "")
def test_errors_name_value_limit_and_fix(
    encoder: Encoder, call: Callable[[Encoder], object], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        call(encoder)


def test_too_long_without_truncation(short: Encoder) -> None:
    texts = ["a"] * 5000 + [words(100)]
    tokens = short.count_tokens(texts[-1])[0]
    calls: list[int] = []
    with pytest.raises(ValueError, match=rf"text 5000 has {tokens} tokens, .* limit is 64: .*truncate=True"):
        short.encode(texts, truncate=False, progress=lambda done, total: calls.append(done))
    assert not calls  # before anything was encoded


def test_instruction_that_leaves_no_room(short: Encoder) -> None:
    with pytest.raises(ValueError, match=r"the instruction takes \d+ of 64 tokens and leaves no room"):
        short.encode("a", instruction=words(60))


LOAD_ERRORS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"dtype": "int4"}, ValueError, "dtype 'int4' is not supported: use one of float32, bfloat16, float16, int8"),
    ({"dtype": torch.int16}, ValueError, "is not supported"),
    ({"device": "tpu"}, ValueError, "device 'tpu' is not one torch knows"),
    ({"device": ["cpu", "cuda:7"]}, ValueError, "device 'cuda:7' is not available"),
    ({"device": []}, ValueError, "device is an empty list"),
    ({"device": "cuda:7"}, ValueError, "device 'cuda:7' is not available: torch .* sees 1 cpu"),
    ({"max_batch_tokens": 0}, ValueError, "max_batch_tokens is 0, at least 1 is needed"),
    ({"max_bodies": 0}, ValueError, "max_bodies is 0"),
    ({"max_batch_tokens": "x"}, TypeError, "max_batch_tokens is 'x': a whole number"),
    ({"max_bodies": 1.5}, TypeError, "max_bodies is 1.5"),
    ({"merge_adapters": "no"}, TypeError, "merge_adapters is 'no'"),
    ({"revision": "v1"}, ValueError, "is a local folder, which has no revision 'v1'"),
    ({"devise": "cpu"}, TypeError, "unexpected keyword argument 'devise'"),
]


@pytest.mark.parametrize(("options", "kind", "message"), LOAD_ERRORS)
def test_load_errors(native: Path, options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        Encoder.from_pretrained(native, **options)


@pytest.mark.parametrize("model", ["", None, 3])
def test_models_that_are_no_name(model: Any) -> None:
    with pytest.raises(TypeError, match="a hub id like jinaai/jina-embeddings-v3-hf or a folder was expected"):
        Encoder.from_pretrained(model)


# Bodies


def test_bodies_are_kept_up_to_the_bound(native: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Task | None] = []
    from taskvec import adapters

    right = adapters.BodyBuilder.build
    monkeypatch.setattr(adapters.BodyBuilder, "build", lambda self, task: built.append(task) or right(self, task))
    unbounded = Encoder.from_pretrained(native, dtype="float32")
    for _ in range(3):
        unbounded.encode_queries("a")
        unbounded.encode_documents("a")
    assert built == [QUERY_TASK, DOCUMENT_TASK]
    built.clear()
    two = Encoder.from_pretrained(native, dtype="float32", max_bodies=2)
    for task in (None, "separation", None, "classification", None, "separation"):
        two.encode("a", task=task)
    assert built == [None, Task.SEPARATION, Task.CLASSIFICATION, Task.SEPARATION]


def test_word_table_and_norms_are_shared_between_bodies(encoder: Encoder) -> None:
    bodies = encoder._open_pipeline._runners[0]._bodies
    one, other = bodies.get(Task.SEPARATION), bodies.get(Task.CLASSIFICATION)
    assert one.embeddings.words is other.embeddings.words
    assert one.layers[0].fc1.bias is other.layers[0].fc1.bias
    assert one.layers[0].fc1.weight is not other.layers[0].fc1.weight


def test_unmerged_bodies_share_all_weights(native: Path) -> None:
    encoder = Encoder.from_pretrained(native, dtype="float32", merge_adapters=False)
    bodies = encoder._open_pipeline._runners[0]._bodies
    one, other = bodies.get(Task.SEPARATION), bodies.get(None)
    assert one.layers[1].qkv.weight is other.layers[1].qkv.weight


# Memory


def test_out_of_memory_halves_the_batch(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    right = runner.Runner._run

    def run(self: Any, batch: Any, *rest: Any) -> Any:
        sizes.append(sum(batch.lengths))
        if sizes[-1] > 60:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return right(self, batch, *rest)

    texts = [words(n) for n in (3, 9, 5, 7, 2, 8)]
    expected = encoder.encode(texts)
    monkeypatch.setattr(runner.Runner, "_run", run)
    assert_close(encoder.encode(texts), expected)
    assert len(sizes) > 3
    with pytest.raises(MemoryError, match=r"one sequence of \d+ tokens does not fit the free memory of cpu: use dtype="):
        encoder.encode([*texts, words(300)])


def test_out_of_memory_for_weights_is_not_a_batch_too_large(native: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from taskvec import adapters

    encoder = Encoder.from_pretrained(native, dtype="float32")
    attempts: list[Task | None] = []

    def build(self: Any, task: Task | None) -> Any:
        attempts.append(task)
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(adapters.BodyBuilder, "build", build)
    with pytest.raises(MemoryError, match=r"the weights of another task do not fit the free memory of cpu: .*max_bodies=1"):
        encoder.encode(["a"] * 64)
    assert len(attempts) == 1


def test_several_devices_share_the_batches(native: Path, encoder: Encoder) -> None:
    both = Encoder.from_pretrained(native, dtype="float32", device=["cpu", "cpu"], max_batch_tokens=200)
    texts = [words(1 + i % 30, i) for i in range(400)]
    for task in (Task.RETRIEVAL_QUERY, None):
        assert_close(both.encode(texts, task=task), encoder.encode(texts, task=task))
    runners = both._open_pipeline._runners
    assert len(runners) == 2
    assert all(runner._bodies._known(Task.RETRIEVAL_QUERY) for runner in runners)
    assert both is not shared_encoder(native, dtype="float32", device=["cpu", "cpu"])
    with pytest.raises(TypeError, match="text 3 is int"):
        list(both.encode_iter(["a"] * 3 + [4]))


# Iteration, progress, interruption


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
    vectors.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("taskvec-ahead")]


def test_good_texts_before_a_bad_one_are_not_lost(short: Encoder) -> None:
    for count in (3, 9000):
        got: list[np.ndarray] = []
        with pytest.raises(TypeError, match=f"text {count} is int"):
            got.extend(short.encode_iter([*(["a b"] * count), 7, "c"]))
        assert len(got) == count


def test_good_texts_before_one_too_long_are_not_lost(short: Encoder) -> None:
    got: list[np.ndarray] = []
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
    assert [vectors.shape for vectors in got] == [(len(own), 6) for own in spans]
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
    vectors.close()
    errors: list[tuple[object, type[Exception], str]] = [
        ("ab", TypeError, "document 4500 is str, a pair of a text and a list of spans"),
        ((3, []), TypeError, "document 4500 is int, a str"),
        (("a", 3), TypeError, "the second part of document 4500 is int, a list"),
        (("a", [(0, 2)]), ValueError, r"document 4500, span 0 is \(0, 2\)"),
    ]
    for bad, kind, message in errors:
        got: list[np.ndarray] = []
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


INTERRUPTED = """
import os, signal, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job begins with it ignored
from taskvec import Encoder
encoder = Encoder.from_pretrained({folder!r}, dtype="float32", device="cpu")
threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    for vector in encoder.encode_iter("a text of some words" for _ in iter(int, 1)):
        pass
except KeyboardInterrupt:
    print("interrupted", len(encoder.encode("still works")))
"""


def test_keyboard_interrupt_leaves_nothing_hanging(short_folder: Path) -> None:
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED.format(folder=str(short_folder))],
        env={**os.environ, "PYTHONPATH": "core"}, cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "interrupted 32\n", done.stderr
    assert done.returncode == 0
    assert time.monotonic() - start < 30


FORKED_SCRIPT = """
import multiprocessing
from taskvec import Encoder

def use(_):
    return attempt(lambda: encoder.encode("a").shape)

def load(_):
    return attempt(lambda: Encoder.from_pretrained({folder!r}, dtype="float32").encode("a").shape)

def attempt(work):
    try:
        return work()
    except RuntimeError as error:
        return error.args[0]

if __name__ == "__main__":
    encoder = Encoder.from_pretrained({folder!r}, dtype="float32", device="cpu")
    encoder.encode("a")
    for method, function in (("fork", use), ("fork", load), ("spawn", load)):
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(pool.apply_async(function, [None]).get(40))
"""


def test_a_fork_is_told_instead_of_hanging(short_folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "forked.py"
    script.write_text(FORKED_SCRIPT.format(folder=str(short_folder)))
    done = subprocess.run(
        [sys.executable, str(script)], env={**os.environ, "PYTHONPATH": "core"}, cwd=ROOT,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    used, loaded, spawned = done.stdout.splitlines()
    for message in (used, loaded):
        assert "was forked from" in message, done.stderr
        assert "'spawn'" in message
    assert spawned == "(32,)", done.stderr


# Threads and async


def test_threads_with_mixed_settings_do_not_cross_talk(native: Path) -> None:
    encoder = Encoder.from_pretrained(native, dtype="float32", max_bodies=2)
    jobs = [(task, d, TEXTS[i % 5 :]) for i, task in enumerate([*Task, None] * 8) for d in (64, 3 + i % 20)]
    expected = [encoder.encode(texts, task=task, dimensions=d) for task, d, texts in jobs]
    barrier = threading.Barrier(8)

    def work(start: int) -> None:
        barrier.wait()
        for i in [*range(start, len(jobs)), *range(start)]:
            task, dimensions, texts = jobs[i]
            assert_close(encoder.encode(texts, task=task, dimensions=dimensions), expected[i])

    with ThreadPoolExecutor(8) as executor:
        for future in [executor.submit(work, 12 * i) for i in range(8)]:
            future.result()


async def ticks_during(work: Awaitable[Any]) -> tuple[Any, float]:
    """The result of `work` and the longest time the event loop stood still meanwhile."""
    longest = 0.0
    task = asyncio.ensure_future(work)
    while not task.done():
        start = time.perf_counter()
        await asyncio.sleep(0.001)
        longest = max(longest, time.perf_counter() - start)
    return task.result(), longest


def test_async_methods_equal_the_others(encoder: Encoder) -> None:
    async def main() -> None:
        chunks, spans = [["a b", "c"], ["d"]], [[(0, 3), (3, 5)], [(0, 1)]]
        assert_close(await encoder.aencode(TEXTS, dimensions=9), encoder.encode(TEXTS, dimensions=9))
        assert_close(await encoder.aencode(["a", "b"], late_chunking=True), encoder.encode(["a", "b"], late_chunking=True))
        assert_close(await encoder.aencode_queries("a"), encoder.encode_queries("a"))
        documents = encoder.encode_documents(["a", "b"], late_chunking=True)
        assert_close(await encoder.aencode_documents(["a", "b"], late_chunking=True), documents)
        for ours, theirs in zip(await encoder.aencode_chunks(chunks), encoder.encode_chunks(chunks), strict=True):
            assert_close(ours, theirs)
        texts = ["a b c", "d"]
        for ours, theirs in zip(await encoder.aencode_spans(texts, spans), encoder.encode_spans(texts, spans), strict=True):
            assert_close(ours, theirs)
        with pytest.raises(ValueError, match="dimensions is 99"):
            await encoder.aencode("a", dimensions=99)

    asyncio.run(main())


def test_the_event_loop_is_never_blocked(encoder: Encoder) -> None:
    async def main() -> None:
        start = time.perf_counter()
        vectors, longest = await ticks_during(encoder.aencode([words(200, i) for i in range(150)]))
        assert vectors.shape == (150, 64)
        assert longest < (time.perf_counter() - start) / 2

    asyncio.run(main())


def test_cancelling_ends_the_work_at_the_next_batch(short: Encoder) -> None:
    batches: list[int] = []

    async def main() -> None:
        texts = [words(30, i) for i in range(20_000)]
        work = asyncio.create_task(short.aencode(texts, progress=lambda done, total: batches.append(done)))
        while not batches:
            await asyncio.sleep(0.001)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        await asyncio.sleep(0.2)
        seen = len(batches)
        await asyncio.sleep(0.2)
        assert len(batches) == seen
        assert batches[-1] < 20_000

    asyncio.run(main())


# Sharing, pickling, closing


def test_close_frees_the_weights(native: Path) -> None:
    encoder = Encoder.from_pretrained(native, dtype="float32")
    encoder.encode("a")
    weight = weakref.ref(encoder._open_pipeline._runners[0]._bodies.get(Task.TEXT_MATCHING).layers[0].fc1.weight)
    encoder.close()
    encoder.close()
    gc.collect()
    assert weight() is None
    for call in (encoder.encode, lambda text: encoder.encode_chunks([[text]]), lambda text: list(encoder.encode_iter([text]))):
        with pytest.raises(RuntimeError, match="is closed; load it again"):
            call("a")
    assert encoder.count_tokens("a")
    with Encoder.from_pretrained(native, dtype="float32") as other:
        other.encode("a")
    with pytest.raises(RuntimeError, match="is closed"):
        other.encode("a")


def test_a_closed_encoder_finishes_what_it_began(short_folder: Path) -> None:
    encoder = Encoder.from_pretrained(short_folder, dtype="float32")
    vectors = encoder.encode_iter(["a"] * 10)
    next(vectors)
    encoder.close()
    assert sum(1 for _ in vectors) == 9


def test_shared_encoders_are_one_per_settings_and_counted(native: Path) -> None:
    first = shared_encoder(native, dtype="float32")
    second = shared_encoder(native, dtype="float32")
    other = shared_encoder(native, dtype="float32", max_bodies=1)
    assert shared_encoder(str(native), dtype="float32") is first
    first.close()
    assert first is second
    assert first is not other
    first.close()
    assert second.encode("a").shape == (64,)
    second.close()
    with pytest.raises(RuntimeError, match="is closed"):
        second.encode("a")
    again = shared_encoder(native, dtype="float32")
    assert again is not first
    assert again.encode("a").shape == (64,)


def test_shared_encoder_takes_what_from_pretrained_takes() -> None:
    import inspect

    assert inspect.signature(shared_encoder) == inspect.signature(Encoder.from_pretrained)
    with pytest.raises(TypeError, match="unexpected keyword argument 'devise'"):
        shared_encoder("x", devise="cpu")


def test_loading_one_model_does_not_hold_up_another(native: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = shared_encoder(native, dtype="float32", max_bodies=4)
    started, go_on = threading.Event(), threading.Event()

    def load(settings: Any) -> Any:
        started.set()
        go_on.wait(10)
        raise OSError("slow and then gone")

    def fail_to_load() -> None:
        with pytest.raises(OSError, match="slow and then gone"):
            shared_encoder("other/model")

    monkeypatch.setattr("taskvec.encoder.load", load)
    thread = threading.Thread(target=fail_to_load)
    thread.start()
    started.wait(10)
    assert shared_encoder(native, dtype="float32", max_bodies=4) is ready
    go_on.set()
    thread.join()


def test_threads_that_share_load_once(native: Path) -> None:
    with ThreadPoolExecutor(8) as executor:
        encoders = list(executor.map(lambda _: shared_encoder(native, dtype="float32", max_bodies=3), range(8)))
    assert len({id(encoder) for encoder in encoders}) == 1
    for encoder in encoders[1:]:
        encoder.close()
    assert encoders[0].encode("a").shape == (64,)


UNPICKLE = "import pickle, sys; e = pickle.loads(sys.stdin.buffer.read()); print(*e.encode('bread', dimensions=3).tolist())"


def test_pickles_carry_settings_and_no_secret(native: Path) -> None:
    encoder = Encoder.from_pretrained(native, dtype="float32", token="hf_secret")
    assert "hf_secret" not in repr(encoder) + repr(encoder.load_settings)
    data = pickle.dumps(encoder)
    assert b"hf_secret" not in data
    assert len(data) < 2000
    done = subprocess.run(
        [sys.executable, "-c", UNPICKLE], input=data, env={**os.environ, "PYTHONPATH": "core"},
        cwd=ROOT, capture_output=True, timeout=60,
    )  # fmt: skip
    assert_close(np.array(done.stdout.split(), dtype=np.float32), encoder.encode("bread", dimensions=3))
    one, two = pickle.loads(data), pickle.loads(data)
    assert one is two
    assert copy.deepcopy(one) is one


def test_a_word_longer_than_the_context_and_odd_characters(tmp_path: Path) -> None:
    folder = write_native(tmp_path / "m", random_weights(Shape(width=32, heads=2, inner=48, positions=34)))
    encoder = Encoder.from_pretrained(folder, dtype="float32")
    odd = ["x" * 5000, "\x00", "\u200b", "a\u0301" * 50, "</s> <s>", "\ufeff", " " * 1000, "\r\n\t"]
    vectors = encoder.encode(odd)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert_close(vectors[-1], encoder.encode(""))
