"""What the components make of texts: vectors by their tasks, precisions, copies of Documents, counts and a progress bar."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from haystack import Document

from haystack_integrations.components.embedders.taskvec import TaskvecDocumentEmbedder
from support.haystack_texts import QUESTION, embed_one
from taskvec import Encoder, Task, quantize
from taskvec.integration import Vectors, scaled_int8

Make = Callable[..., Any]

BOTH = pytest.mark.parametrize("kind", ["text", "documents"])


@pytest.mark.parametrize(
    ("kind", "task", "expected"),
    [
        ("text", "auto", Task.RETRIEVAL_QUERY),
        ("documents", "auto", Task.RETRIEVAL_PASSAGE),
        ("text", "text-matching", Task.TEXT_MATCHING),
        ("documents", Task.CLASSIFICATION, Task.CLASSIFICATION),
        ("text", None, None),
        ("documents", None, None),
    ],
)
def test_the_task_is_that_of_the_component_or_the_one_asked_for(
    kind: str, task: Any, expected: Task | None, make: Make, mini: Encoder
) -> None:
    got, meta = embed_one(make(kind, task=task, dimensions=100))
    np.testing.assert_allclose(got, mini.encode(QUESTION, task=expected, dimensions=100), atol=1e-6)
    assert (meta["model"], meta["truncated"]) == ("mini", 0)
    assert meta["tokens"] > mini.count_tokens(QUESTION)[0] - 1


@BOTH
def test_prefix_and_suffix_stand_around_the_text(kind: str, make: Make, mini: Encoder) -> None:
    got, _ = embed_one(make(kind, prefix="query: ", suffix="!", task=None))
    np.testing.assert_allclose(got, mini.encode(f"query: {QUESTION}!", task=None), atol=1e-6)


@BOTH
def test_truncation_is_counted(kind: str, make: Make, short_folder: Path) -> None:
    _, meta = embed_one(make(kind, str(short_folder)), "word " * 200)
    assert (meta["truncated"], meta["tokens"]) == (1, 64)


PRECISIONS: dict[str, Callable[[Vectors], Any]] = {
    "float32": lambda vector: vector,
    "float16": lambda vector: vector.astype(np.float16),
    "int8": lambda vector: scaled_int8(vector[None])[0],
    "binary": lambda vector: quantize(vector, "binary"),
    "ubinary": lambda vector: quantize(vector, "ubinary"),
}


@BOTH
@pytest.mark.parametrize("precision", PRECISIONS)
def test_precisions(kind: str, precision: str, make: Make, mini: Encoder) -> None:
    got, _ = embed_one(make(kind, precision=precision, task="separation"))
    wanted = PRECISIONS[precision](mini.encode(QUESTION, task="separation"))
    np.testing.assert_allclose(got, wanted, atol=1e-6 if precision == "float32" else 1e-3)
    if precision == "int8":
        plain = mini.encode(QUESTION, task="separation")
        assert got @ plain / np.linalg.norm(got) > 0.999


def test_an_int8_query_and_a_batch_of_documents_are_scaled_alike(make: Make) -> None:
    query = make("text", precision="int8", task="separation").run(QUESTION)["embedding"]
    others = [Document(content=text) for text in (QUESTION, "The sea rises twice a day.", "Snow is white.")]
    assert make("documents", precision="int8", task="separation").run(others)["documents"][0].embedding == query


def test_documents_are_copied_with_everything_they_have(make: Make) -> None:
    given = [Document(content="a", meta={"x": [1]}, score=0.5, embedding=[1.0]), Document(id="b", content="")]
    before = [document.to_dict() for document in given]
    result = make("documents").run(given)
    assert [document.to_dict() for document in given] == before
    got = [{**document.to_dict(), "embedding": None} for document in result["documents"]]
    assert got == [{**document, "embedding": None} for document in before]


def test_no_documents_give_none(make: Make) -> None:
    for late in (False, True):
        result = make("documents", late_chunking=late, progress_bar=True).run([])
        assert result["documents"] == []
        assert result["meta"] == {"model": "mini", "tokens": 0, "truncated": 0, "windows": 0, "fallbacks": 0}


def test_a_progress_bar_goes_to_stderr(make: Make, capfd: pytest.CaptureFixture[str]) -> None:
    for late in (False, True):
        make("documents", late_chunking=late, progress_bar=True).run([Document(content=QUESTION)])
        out, error = capfd.readouterr()
        assert out == ""
        assert "1/1" in error


def test_a_batch_size_is_said_to_have_no_effect(caplog: pytest.LogCaptureFixture) -> None:
    TaskvecDocumentEmbedder("mini", batch_size=32)
    assert "batch_size=32 has no effect, because batches are packed by tokens: use max_batch_tokens" in caplog.text
