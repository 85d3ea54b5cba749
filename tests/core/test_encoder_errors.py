"""What an encoder refuses: every error names the value, the limit and the fix."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support.reference import words
from taskvec import Encoder, Usage

ERRORS: list[tuple[Callable[[Any], object], type[Exception], str]] = [
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
    (lambda e: e.encode(["a", None]), TypeError, "text 1 is NoneType: a str was expected"),
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
    (lambda e: e.encode(["a", "b\ud800c"]), ValueError, "text 1 has a lone surrogate at character 1, .*Unicode: .*replace"),
    (lambda e: e.encode(["a", ""], late_chunking=True), ValueError, "chunk 1 is empty: leave it out"),
    (lambda e: e.encode_chunks([["a"], ["b", ""]]), ValueError, "document 1, chunk 1 is empty"),
    (lambda e: e.encode_chunks([["a"], ["b", 3]]), TypeError, "document 1, chunk 1 is int"),
    (lambda e: e.encode_chunks(["ab"]), TypeError, r"document 0 is str: a list was expected, as in encode_chunks\("),
    (lambda e: e.encode_chunks(None), TypeError, "documents is NoneType: a list was expected"),
    (lambda e: e.encode_chunks([["a"], None]), TypeError, "document 1 is NoneType: a list was expected"),
    (lambda e: e.encode_spans(["a"], None), TypeError, "spans is NoneType: a list was expected"),
    (lambda e: e.encode_spans(["a"], [None]), TypeError, r"spans\[0\] is NoneType: a list was expected"),
    (lambda e: e.encode("a", instruction=3), TypeError, "instruction is int: a str was expected, or None for the task's own"),
    (lambda e: e.encode("a", progress="yes"), TypeError, "progress is 'yes': True, False or a function"),
    (lambda e: e.encode_spans("ab", [[(0, 1)]]), TypeError, r"texts is str: a list was expected, as in encode_spans\(\[text\], "),
    (lambda e: e.encode_spans(["ab"], []), ValueError, "texts has 1 entries, but spans has 0: pass a list of spans"),
    (lambda e: e.encode_spans(["ab", "cd"], [[(0, 1)], [(0, 1), (1, 1)]]), ValueError, r"document 1, span 1 is \(1, 1\)"),
    (lambda e: e.encode_spans(["ab"], [[(0, 3)]]), ValueError, r"span 0 is \(0, 3\).*stop <= 2"),
    (lambda e: e.encode_spans(["ab"], [[(-1, 1)]]), ValueError, r"span 0 is \(-1, 1\)"),
    (lambda e: e.encode_spans(["ab"], [[(0.0, 1.0)]]), ValueError, "a pair of character positions"),
    (lambda e: e.encode_spans(["ab"], [[5]]), ValueError, "span 0 is 5: a span is a pair"),
    (lambda e: e.encode_iter("abc"), TypeError, "use encode for a single text"),
    (lambda e: e.encode_iter(["a"], dimensions=99), ValueError, "dimensions is 99"),
    (lambda e: e.encode_spans_iter([], dimensions=99), ValueError, "dimensions is 99"),
    (lambda e: list(e.encode_spans_iter("ab")), TypeError, r"documents is str: a list was expected, as in encode_spans_iter\("),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "message"), ERRORS, ids=lambda value: value if isinstance(value, str) else "")
def test_errors_name_value_limit_and_fix(
    encoder: Encoder, call: Callable[[Any], object], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        call(encoder)


def test_too_long_without_truncation(short: Encoder) -> None:
    texts = ["a"] * 5000 + [words(100)]
    tokens = short.count_tokens(texts[-1])[0]
    calls: list[int] = []
    with pytest.raises(ValueError, match=rf"text 5000 has {tokens} tokens, .* but the limit is 64: .*truncate=True"):
        short.encode(texts, truncate=False, progress=lambda done, total: calls.append(done))
    assert not calls  # before anything was encoded


def test_instruction_that_leaves_no_room(short: Encoder) -> None:
    with pytest.raises(ValueError, match=r"the instruction takes \d+ of 64 tokens and leaves no room for a text: shorten it"):
        short.encode("a", instruction=words(60))


LOAD_ERRORS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"dtype": "int4"}, ValueError, "dtype 'int4' is not supported: use one of float32, bfloat16, float16, int8"),
    ({"dtype": torch.int16}, ValueError, "is not supported"),
    ({"device": "tpu"}, ValueError, "device 'tpu' is not one torch knows"),
    ({"device": ["cpu", "cuda:7"]}, ValueError, "device 'cuda:7' is not available"),
    ({"device": []}, ValueError, "device is an empty list"),
    ({"device": "cuda:7"}, ValueError, "device 'cuda:7' is not available: torch .* sees 1 cpu"),
    ({"max_batch_tokens": 0}, ValueError, "max_batch_tokens is 0: use 1 or more, or None to have it chosen"),
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
def test_models_that_are_not_a_name(model: Any) -> None:
    with pytest.raises(TypeError, match="a hub id like jinaai/jina-embeddings-v3-hf or a folder was expected"):
        Encoder.from_pretrained(model)
