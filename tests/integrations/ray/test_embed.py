"""The classes for map_batches: what is in the vectors, and what is said of rows that are not texts."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import ray.data
from ray.data import ActorPoolStrategy

from taskvec import Encoder
from taskvec_integrations.ray import EmbedChunks, EmbedDocuments, EmbedQueries, gather_chunks

TEXTS = ["Bread rises by yeast.", "The moon pulls at the sea.", "Why are there tides?"]
CHUNKS = [["Berlin is a city.", "It lies on the Spree."], ["Yeast is alive."]]
MINI: dict[str, Any] = {"model": "mini", "dtype": "float32"}


def column(*values: Any) -> np.ndarray[Any, Any]:
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


@pytest.mark.parametrize(("kind", "task"), [(EmbedDocuments, "retrieval.passage"), (EmbedQueries, "retrieval.query")])
def test_the_task_is_that_of_the_class(mini: Encoder, kind: type[EmbedDocuments], task: str) -> None:
    batch = {"id": np.array([1, 2, 3]), "text": column(*TEXTS)}
    made = kind(**MINI, dimensions=64)(batch)
    assert made.keys() == {"id", "text", "embedding"}
    assert made["embedding"].dtype == np.float32
    np.testing.assert_allclose(made["embedding"], mini.encode(TEXTS, task=task, dimensions=64), atol=1e-6)
    bare = kind(**MINI, task=None, text_column="text", output_column="v")(batch)["v"]
    np.testing.assert_allclose(bare, mini.encode(TEXTS, task=None), atol=1e-6)


def test_chunks_share_the_context_of_their_document(mini: Encoder) -> None:
    batch = {"chunks": column(*(column(*chunks) for chunks in CHUNKS))}
    late = EmbedChunks(**MINI, dimensions=32)(batch)["embedding"]
    for own, wanted in zip(late, mini.encode_chunks(CHUNKS, dimensions=32), strict=True):
        np.testing.assert_allclose(own, wanted, atol=1e-6)
    alone = EmbedChunks(**MINI, late_chunking=False)(batch)["embedding"]
    for own, chunks in zip(alone, CHUNKS, strict=True):
        np.testing.assert_allclose(own, mini.encode_documents(chunks), atol=1e-6)


def test_an_empty_batch_has_vectors_too() -> None:
    assert EmbedDocuments(**MINI)({"text": column()})["embedding"].shape == (0, 384)
    assert EmbedChunks(**MINI)({"chunks": column()})["embedding"].shape == (0,)


def test_precisions() -> None:
    batch = {"text": column(*TEXTS)}
    assert EmbedDocuments(**MINI, precision="float16")(batch)["embedding"].dtype == np.float16
    assert EmbedDocuments(**MINI, precision="ubinary")(batch)["embedding"].shape == (3, 48)


@pytest.mark.parametrize(
    ("kind", "batch", "error", "message"),
    [
        (EmbedDocuments, {"id": column("a", "b"), "text": column("x", None)}, TypeError, r"row 1 of a batch \(id 'b'\): 'text'"),
        (EmbedDocuments, {"text": column(3)}, TypeError, "row 0 of a batch: 'text' is int: a str was expected"),
        (EmbedDocuments, {"body": column("x")}, ValueError, "no column 'text', only body: name another with text_column"),
        (EmbedDocuments, pa.table({"text": ["x"]}), TypeError, "a batch is Table: leave batch_format"),
        (EmbedChunks, {"id": np.array([7]), "chunks": column("x")}, TypeError, r"\(id 7\): 'chunks' is str, a list"),
        (EmbedChunks, {"chunks": column(None)}, TypeError, "'chunks' is missing, a list"),
        (EmbedChunks, {"chunks": column([])}, ValueError, "row 0 of a batch: 'chunks' is an empty list"),
        (EmbedChunks, {"chunks": column(["x", None])}, TypeError, "row 0 of a batch: 'chunks', chunk 1, is missing"),
    ],
)  # fmt: skip
def test_a_row_that_is_not_a_text_is_named(kind: Any, batch: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        kind(**MINI)(batch)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"dimensions": 0}, ValueError, "dimensions is 0: use 1 or more"),
        ({"dimensions": 385}, ValueError, "384"),
        ({"task": "retrieval"}, ValueError, "retrieval.passage"),
        ({"precision": "int8"}, ValueError, "precision is 'int8': use one of float32"),
        ({"output_column": "text"}, ValueError, "both 'text'"),
        ({"max_batch_tokens": 0}, ValueError, "max_batch_tokens is 0"),
        ({"pooling": "cls"}, TypeError, "pooling"),
    ],
)
def test_settings_are_checked_at_once(settings: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        EmbedDocuments(**MINI, **settings)
    with pytest.raises(TypeError, match="late_chunking"):
        EmbedChunks(**MINI, late_chunking="yes")  # type: ignore[arg-type]


@pytest.mark.usefixtures("cluster")
def test_a_dataset_goes_through_actors(mini: Encoder) -> None:
    rows = [{"document_id": d, "chunk": c, "text": text} for d, chunks in enumerate(CHUNKS) for c, text in enumerate(chunks)]
    documents = gather_chunks(ray.data.from_items(rows[::-1]))
    made = documents.map_batches(EmbedChunks, fn_constructor_kwargs=MINI, compute=ActorPoolStrategy(size=1), num_cpus=1)
    found = {row["id"]: row for row in made.take_all()}
    assert {id: list(row["chunks"]) for id, row in found.items()} == dict(enumerate(CHUNKS))
    for id, chunks in enumerate(CHUNKS):
        np.testing.assert_allclose(found[id]["embedding"], mini.encode_documents(chunks, late_chunking=True), atol=1e-5)
