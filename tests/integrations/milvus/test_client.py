"""The clients on real servers: what is stored and searched for is what the encoder makes, and everything else is Milvus's own."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pymilvus import (
    AnnSearchRequest,
    AsyncMilvusClient,
    DataType,
    Function,
    FunctionType,
    MilvusClient,
    RRFRanker,
)

from support.milvus.checks import DIMENSIONS, QUESTIONS, ROWS, TEXTS, AnyClient, check_vectors, count_texts, on, stored
from taskvec import Encoder, Task
from taskvec_integrations.milvus import AsyncTaskvecMilvusClient, TaskvecMilvusClient, TextCollection


def create_two_fields(client: MilvusClient, name: str) -> None:
    """A collection with vectors of two sizes of the same text."""
    texts = TextCollection(DIMENSIONS)
    schema, index = texts.schema(), texts.index_params()
    schema.add_field("small", DataType.FLOAT_VECTOR, dim=32)
    index.add_index("small", index_type="AUTOINDEX", metric_type="COSINE")
    client.create_collection(name, schema=schema, index_params=index)


@on("lite", "server")
def test_vectors_are_those_of_the_encoder(any_client: AnyClient, plain: MilvusClient, mini: Encoder, name: str) -> None:
    check_vectors(any_client, plain, mini, name)


@pytest.mark.parametrize("any_client", [TaskvecMilvusClient], indirect=True, ids=["sync"])
@on("server")
def test_binary_vectors_on_a_server(any_client: AnyClient, plain: MilvusClient, mini: Encoder, name: str) -> None:
    TextCollection(DIMENSIONS, "binary").create(plain, name, consistency_level="Strong")
    any_client.insert(name, ROWS)
    bits = np.packbits(mini.encode_documents(list(TEXTS.values()), dimensions=DIMENSIONS) > 0, axis=1)
    query = np.packbits(mini.encode_queries(QUESTIONS[0], dimensions=DIMENSIONS) > 0)
    (hits,) = any_client.search(name, [QUESTIONS[0]], limit=4)
    expected = np.unpackbits(bits ^ query, axis=1).sum(axis=1)
    assert {hit["id"]: hit["distance"] for hit in hits} == dict(zip(TEXTS, expected, strict=True))
    assert hits[0]["id"] == "bread"


def test_vectors_that_are_given_pass_through(any_client: AnyClient, plain: MilvusClient, mini: Encoder, name: str) -> None:
    TextCollection(3).create(plain, name, consistency_level="Strong")
    any_client.insert(
        name, [{"id": "a", "text": "words", "vector": [0.0, 1.0, 0.0]}, {"id": "b", "text": "x", "vector": "words"}]
    )
    held = stored(plain, name)
    assert held["a"].tolist() == [0, 1, 0]
    np.testing.assert_allclose(held["b"], mini.encode_documents("words", dimensions=3), atol=1e-6)
    (by_vector, by_text) = any_client.search(name, [[0.0, 1.0, 0.0], "words"], limit=2)
    assert by_vector[0]["id"] == "a"
    assert by_text[0]["distance"] != by_vector[0]["distance"]


def test_rows_are_not_changed_and_texts_are_encoded_once(
    any_client: AnyClient, plain: MilvusClient, mini: Encoder, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_two_fields(plain, name)
    calls = count_texts(monkeypatch)
    rows = [{"id": "a", "text": "one"}, {"id": "b", "text": "one"}, {"id": "c", "text": "two", "small": "three"}]
    before = [dict(row) for row in rows]
    any_client.insert(name, rows)
    assert rows == before
    assert calls == [["one", "two", "three"]]
    monkeypatch.undo()
    for field, dim in (("vector", DIMENSIONS), ("small", 32)):
        held = stored(plain, name, field)
        np.testing.assert_allclose(held["b"], mini.encode_documents("one", dimensions=dim), atol=1e-6)
    np.testing.assert_allclose(held["c"], mini.encode_documents("three", dimensions=32), atol=1e-6)


def test_text_in_a_search_of_two_fields_needs_the_name_of_one(any_client: AnyClient, plain: MilvusClient, name: str) -> None:
    create_two_fields(plain, name)
    any_client.insert(name, ROWS)
    with pytest.raises(ValueError, match=f"{name} has the vector fields vector, small: name one with anns_field"):
        any_client.search(name, QUESTIONS)
    found = any_client.search(name, QUESTIONS, anns_field="small", limit=1, consistency_level="Strong")
    assert [hits[0]["id"] for hits in found] == ["bread", "tides"]
    positional = any_client.search(name, QUESTIONS, "", 1, ["text"], None, None, None, "small", consistency_level="Strong")
    assert [hits[0]["entity"]["text"] for hits in positional] == [TEXTS["bread"], TEXTS["tides"]]


def test_hybrid_search_with_text_for_vectors_and_for_bm25(
    any_client: AnyClient, plain: MilvusClient, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = plain.create_schema()
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=64)
    schema.add_field("text", DataType.VARCHAR, max_length=500, enable_analyzer=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIMENSIONS)
    schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(Function("bm25", FunctionType.BM25, ["text"], ["words"]))
    index = TextCollection(DIMENSIONS).index_params()
    index.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
    plain.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    any_client.insert(name, ROWS)
    calls = count_texts(monkeypatch)
    requests = [
        AnnSearchRequest([QUESTIONS[0]], "vector", {}, 4),
        AnnSearchRequest(["moon"], "words", {}, 4, expr="id != 'bread'"),
    ]
    (hits,) = any_client.hybrid_search(name, requests, RRFRanker(), limit=2)
    assert {hit["id"] for hit in hits} == {"bread", "tides"}
    assert calls == [[QUESTIONS[0]]]
    assert requests[0].data == [QUESTIONS[0]]
    (hits,) = any_client.search(name, ["moon"], anns_field="words", limit=3)
    assert [hit["id"] for hit in hits] == ["tides"]
    assert len(calls) == 1


def test_empty_calls(any_client: AnyClient, plain: MilvusClient, name: str) -> None:
    TextCollection(DIMENSIONS).create(plain, name, consistency_level="Strong")
    assert any_client.insert(name, [])["insert_count"] == 0
    any_client.insert(name, {"id": "a", "text": ""})
    assert list(stored(plain, name)) == ["a"]
    assert [hit["id"] for hit in any_client.search(name, "", limit=1)[0]] == ["a"]


def test_flushed_rows_are_found(any_client: AnyClient, plain: MilvusClient, name: str) -> None:
    TextCollection(DIMENSIONS).create(plain, name, consistency_level="Strong")
    any_client.insert(name, ROWS[:2])
    plain.flush(name)
    any_client.insert(name, ROWS[2:])
    assert {hit["id"] for hit in any_client.search(name, ["?"], limit=4)[0]} == set(TEXTS)


@pytest.mark.parametrize("kind", [TaskvecMilvusClient, AsyncTaskvecMilvusClient], ids=["sync", "async"])
def test_a_text_that_is_cut_is_warned_of(
    kind: Callable[..., Any], plain: MilvusClient, short: Encoder, uri: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    any_client = AnyClient(kind, uri, encoder=short, text_field="text")
    TextCollection(short.dimensions).create(plain, name, consistency_level="Strong")
    any_client.insert(name, [{"id": "short", "text": "word"}])
    assert not [record for record in caplog.records if record.name == "taskvec"]
    any_client.insert(name, [{"id": "long", "text": "word " * 90}])
    assert [record.message for record in caplog.records if record.name == "taskvec"] == [
        f"1 texts were cut at 64 tokens, the context of {short.model_id}"
    ]
    any_client.close()


def test_search_iterator_takes_text(plain: MilvusClient, mini: Encoder, uri: str, name: str) -> None:
    client = TaskvecMilvusClient(uri, encoder=mini, text_field="text")
    TextCollection(DIMENSIONS).create(client, name, consistency_level="Strong")
    client.insert(name, ROWS)
    iterator = client.search_iterator(name, data=[QUESTIONS[0]], anns_field="vector", batch_size=1, limit=1)
    assert [hit["id"] for hit in iterator.next()] == ["bread"]
    iterator.close()
    client.close()


def test_other_tasks_and_text_fields_by_collection(plain: MilvusClient, mini: Encoder, uri: str, name: str) -> None:
    client = TaskvecMilvusClient(
        uri, encoder=mini, document_task="separation", query_task=None, text_field={name: "body", "other": "text"}
    )
    TextCollection(DIMENSIONS, text_field="body").create(client, name, consistency_level="Strong")
    client.insert(name, [{"id": "a", "body": "words", "text": "not these"}])
    passage = mini.encode(["words"], task=Task.SEPARATION, dimensions=DIMENSIONS)[0]
    np.testing.assert_allclose(stored(plain, name)["a"], passage, atol=1e-6)
    (hits,) = client.search(name, "words")
    np.testing.assert_allclose(hits[0]["distance"], passage @ mini.encode("words", task=None, dimensions=DIMENSIONS), atol=1e-5)
    client.close()


def test_signatures_and_docstrings_are_those_of_pymilvus() -> None:
    for ours, theirs in ((TaskvecMilvusClient, MilvusClient), (AsyncTaskvecMilvusClient, AsyncMilvusClient)):
        for method in ("insert", "upsert", "search", "hybrid_search"):
            made, original = getattr(ours, method), getattr(theirs, method)
            assert inspect.signature(made) == inspect.signature(original)
            assert made.__doc__ == original.__doc__
            assert inspect.iscoroutinefunction(made) == inspect.iscoroutinefunction(original)


def test_close_lets_a_named_encoder_go_and_leaves_a_given_one(lite_uri: str, mini: Encoder) -> None:
    client = TaskvecMilvusClient(lite_uri, encoder=mini)
    client.close()
    assert mini.encode("a").shape == (384,)
    named = TaskvecMilvusClient(lite_uri, encoder="mini")
    encoder = named._embedder._encoder.get()
    named.close()
    with pytest.raises(RuntimeError, match="closed"):
        encoder.encode("a")
