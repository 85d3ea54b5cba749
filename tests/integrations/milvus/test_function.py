"""TaskvecEmbeddingFunction: the vectors of the encoder, in the types that Milvus stores, where JinaEmbeddingFunction was."""

import inspect
import pickle
from collections.abc import Callable

import numpy as np
import pytest
from pymilvus import MilvusClient

from support.milvus.checks import QUESTIONS, TEXTS, on
from taskvec import Encoder, Task
from taskvec_integrations.milvus import TaskvecEmbeddingFunction, TextCollection

PASSAGES = list(TEXTS.values())


def test_documents_and_queries_are_those_of_the_encoder(mini: Encoder) -> None:
    embed = TaskvecEmbeddingFunction(mini, dimensions=100)
    passages = embed.encode_documents(PASSAGES)
    np.testing.assert_array_equal(passages, mini.encode_documents(PASSAGES, dimensions=100))
    np.testing.assert_array_equal(embed(PASSAGES), passages)
    np.testing.assert_array_equal(embed.encode_queries(QUESTIONS), mini.encode_queries(QUESTIONS, dimensions=100))
    assert embed.dim == 100
    assert TaskvecEmbeddingFunction(mini).dim == 384
    assert isinstance(passages, list)
    assert {(vector.shape, vector.dtype.name) for vector in passages} == {((100,), "float32")}


def test_what_counts_as_texts(mini: Encoder) -> None:
    embed = TaskvecEmbeddingFunction(mini)
    assert embed.encode_documents([]) == []
    np.testing.assert_array_equal(embed(text for text in PASSAGES), embed(PASSAGES))
    np.testing.assert_array_equal(embed.encode_queries("one"), [mini.encode_queries("one")])
    with pytest.raises(TypeError, match="1"):
        embed(["a", 3])  # type: ignore[list-item]


def test_late_chunking_is_for_documents_only(mini: Encoder) -> None:
    late = TaskvecEmbeddingFunction(mini, late_chunking=True)
    together = mini.encode_documents(PASSAGES, late_chunking=True)
    np.testing.assert_array_equal(late(PASSAGES), together)
    np.testing.assert_array_equal(late.encode_documents(PASSAGES), together)
    assert not np.allclose(together, mini.encode_documents(PASSAGES))
    np.testing.assert_array_equal(late.encode_queries(QUESTIONS), mini.encode_queries(QUESTIONS))


def test_other_tasks(mini: Encoder) -> None:
    embed = TaskvecEmbeddingFunction(mini, document_task="text-matching", query_task=None)
    np.testing.assert_array_equal(embed(PASSAGES), mini.encode(PASSAGES, task=Task.TEXT_MATCHING))
    np.testing.assert_array_equal(embed.encode_queries(PASSAGES), mini.encode(PASSAGES, task=None))


@pytest.mark.parametrize(("precision", "near"), [("float16", 1e-3), ("bfloat16", 1e-2), ("int8", 1e-2)])
def test_smaller_floats_keep_the_cosine(mini: Encoder, precision: str, near: float) -> None:
    embed = TaskvecEmbeddingFunction(mini, precision=precision)
    packed = embed(PASSAGES)
    assert {vector.dtype.name for vector in packed} == {precision}
    exact = mini.encode_documents(PASSAGES)
    kept = np.array([vector.astype(np.float32) for vector in packed])
    kept /= np.linalg.norm(kept, axis=1, keepdims=True)
    np.testing.assert_allclose(kept @ kept.T, exact @ exact.T, atol=near)
    assert np.abs(kept - exact).max() > 0


def test_int8_uses_the_whole_range_of_each_vector_and_nothing_stays_zero(mini: Encoder) -> None:
    from taskvec_integrations.milvus.vector_types import VECTOR_TYPES

    vectors = np.array([[0.5, -1.0, 0.0], [0.0, 0.0, 0.0], [1e-3, 2e-3, -2e-3]], dtype=np.float32)
    assert [row.tolist() for row in VECTOR_TYPES["int8"].pack(vectors)] == [[64, -127, 0], [0, 0, 0], [64, 127, -127]]


def test_binary_is_one_bit_a_dimension(mini: Encoder) -> None:
    packed = TaskvecEmbeddingFunction(mini, dimensions=64, precision="binary")(PASSAGES)
    bits = np.packbits(mini.encode_documents(PASSAGES, dimensions=64) > 0, axis=1)
    assert packed == [row.tobytes() for row in bits]


@on("lite", "server-soak")
def test_with_milvus_own_client(plain: MilvusClient, mini: Encoder, name: str) -> None:
    embed = TaskvecEmbeddingFunction(mini, dimensions=48)
    TextCollection(embed.dim).create(plain, name, consistency_level="Strong")
    rows = [{"id": id, "text": text, "vector": vector} for (id, text), vector in zip(TEXTS.items(), embed(PASSAGES), strict=True)]
    plain.insert(name, rows)
    found = plain.search(name, embed.encode_queries(QUESTIONS), limit=1)
    assert [hits[0]["id"] for hits in found] == ["bread", "tides"]


def test_it_pickles_without_weights() -> None:
    embed = TaskvecEmbeddingFunction("mini", dimensions=32, precision="binary", document_task=None)
    before = embed(PASSAGES)
    pickled = pickle.dumps(embed)
    embed.close()
    assert len(pickled) < 1500
    again = pickle.loads(pickled)
    assert again(PASSAGES) == before
    again.close()


def test_it_has_what_pymilvus_models_jina_function_has(mini: Encoder) -> None:
    jina = pytest.importorskip("pymilvus.model.dense.jinaai").JinaEmbeddingFunction
    embed = TaskvecEmbeddingFunction(mini)
    theirs = jina(api_key="unused", task="retrieval.passage", dimensions=384)
    theirs._call_jina_api = lambda texts, task=None: list(mini.encode(texts, task=task))
    for method in ("encode_documents", "encode_queries", "__call__"):
        assert list(inspect.signature(getattr(embed, method)).parameters) == list(
            inspect.signature(getattr(theirs, method)).parameters
        )
        np.testing.assert_array_equal(getattr(embed, method)(PASSAGES), getattr(theirs, method)(PASSAGES))
    assert {member for member in dir(theirs) if not member.startswith("_")} - set(dir(embed)) <= {
        "api_key",
        "model_name",
        "task",
        "late_chunking",
    }
    assert embed.dim == theirs.dim


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: TaskvecEmbeddingFunction("mini", precision="float8"), ValueError, "unknown precision 'float8'"),
        (lambda: TaskvecEmbeddingFunction("mini", dimensions=100, precision="binary"), ValueError, "100: .* a multiple of 8"),
        (lambda: TaskvecEmbeddingFunction("mini", query_task="question"), ValueError, "unknown task 'question'"),
        (lambda: TaskvecEmbeddingFunction("mini", late_chunking="no"), TypeError, "late_chunking is 'no'"),  # type: ignore[arg-type]
        (lambda: TaskvecEmbeddingFunction(3), TypeError, "encoder is 3"),  # type: ignore[arg-type]
        (lambda: TaskvecEmbeddingFunction("mini", dimensions=500)(["a"]), ValueError, "dimensions is 500, but this model"),
        (lambda: TaskvecEmbeddingFunction("mini", dimensions=0)(["a"]), ValueError, "dimensions is 0"),
    ],
)  # fmt: skip
def test_nonsense_is_refused(make: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
