"""The public contract of an encoder: shapes, dtypes, the default task of each method, instructions, truncation, usage."""

from pathlib import Path

import numpy as np
import torch

from support.checkpoints import Shape, random_weights, write_native
from support.reference import TEXTS, assert_close, words
from taskvec import Encoder, Task, Usage
from taskvec.pooling import Vectors
from taskvec.tasks import DOCUMENT_TASK, QUERY_TASK


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
    def by(task: Task | None) -> Vectors:
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
        with_default = encoder.encode("bread", task=task)
        assert_close(encoder.encode("bread", task=task, instruction=task.instruction), with_default)
        without = encoder.encode("bread", task=task, instruction="")
        assert np.allclose(without, with_default) == (not task.instruction)
        assert_close(encoder.encode(task.instruction + "bread", task=task, instruction=""), with_default)


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


def test_a_word_longer_than_the_context_and_odd_characters(tmp_path: Path) -> None:
    folder = write_native(tmp_path / "m", random_weights(Shape(width=32, heads=2, inner=48, positions=34)))
    encoder = Encoder.from_pretrained(folder, dtype="float32")
    odd = ["x" * 5000, "\x00", "\u200b", "a\u0301" * 50, "</s> <s>", "\ufeff", " " * 1000, "\r\n\t"]
    vectors = encoder.encode(odd)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert_close(vectors[-1], encoder.encode(""))
