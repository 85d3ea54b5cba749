"""The clients on real engines: what is stored and searched for is what the encoder makes, and everything else is Milvus's own."""

import asyncio
import inspect
import time
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
    MilvusException,
    RRFRanker,
)
from pymilvus.grpc_gen import milvus_pb2

from support.milvus.checks import DIMENSIONS, QUESTIONS, TEXTS, Asked, check_vectors, on, stored
from taskvec import Encoder, Task
from taskvec_integrations.milvus import AsyncTaskvecMilvusClient, TaskvecMilvusClient, TextCollection

ROWS = [{"id": id, "text": text} for id, text in TEXTS.items()]


def counting(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The texts of every call of the encoder from now on."""
    calls: list[list[str]] = []
    encode = Encoder.encode

    def counted(self: Encoder, texts: Any, **options: Any) -> Any:
        calls.append(list(texts))
        return encode(self, texts, **options)

    monkeypatch.setattr(Encoder, "encode", counted)
    return calls


def remade(asked: Asked, plain: MilvusClient, name: str, sizes: tuple[int, ...]) -> None:
    """Use a collection that somebody drops and makes anew, for vectors of another size each time."""
    for dimensions in sizes:
        plain.drop_collection(name)
        TextCollection(dimensions).create(plain, name, consistency_level="Strong")
        if dimensions <= 384:
            asked("insert", name, ROWS)
            assert stored(plain, name)["bread"].shape == (dimensions,)
            assert asked("search", name, [QUESTIONS[0]], limit=1)[0][0]["id"] == "bread"


def two_fields(client: MilvusClient, name: str) -> None:
    """A collection with vectors of two sizes of the same text."""
    layout = TextCollection(DIMENSIONS)
    schema, index = layout.schema(), layout.index_params()
    schema.add_field("small", DataType.FLOAT_VECTOR, dim=32)
    index.add_index("small", index_type="AUTOINDEX", metric_type="COSINE")
    client.create_collection(name, schema=schema, index_params=index)


@on("lite", "server")
def test_vectors_are_those_of_the_encoder(asked: Asked, plain: MilvusClient, mini: Encoder, name: str) -> None:
    check_vectors(asked, plain, mini, name)


@pytest.mark.parametrize("asked", [TaskvecMilvusClient], indirect=True, ids=["sync"])
@on("server")
def test_binary_vectors_on_a_server(asked: Asked, plain: MilvusClient, mini: Encoder, name: str) -> None:
    TextCollection(DIMENSIONS, "binary").create(plain, name, consistency_level="Strong")
    asked("insert", name, ROWS)
    bits = np.packbits(mini.encode_documents(list(TEXTS.values()), dimensions=DIMENSIONS) > 0, axis=1)
    query = np.packbits(mini.encode_queries(QUESTIONS[0], dimensions=DIMENSIONS) > 0)
    (hits,) = asked("search", name, [QUESTIONS[0]], limit=4)
    expected = np.unpackbits(bits ^ query, axis=1).sum(axis=1)
    assert {hit["id"]: hit["distance"] for hit in hits} == dict(zip(TEXTS, expected, strict=True))
    assert hits[0]["id"] == "bread"


def test_vectors_that_are_given_pass_through(asked: Asked, plain: MilvusClient, mini: Encoder, name: str) -> None:
    TextCollection(3).create(plain, name, consistency_level="Strong")
    asked("insert", name, [{"id": "a", "text": "words", "vector": [0.0, 1.0, 0.0]}, {"id": "b", "text": "x", "vector": "words"}])
    held = stored(plain, name)
    assert held["a"].tolist() == [0, 1, 0]
    np.testing.assert_allclose(held["b"], mini.encode_documents("words", dimensions=3), atol=1e-6)
    (by_vector, by_text) = asked("search", name, [[0.0, 1.0, 0.0], "words"], limit=2)
    assert by_vector[0]["id"] == "a"
    assert by_text[0]["distance"] != by_vector[0]["distance"]


def test_rows_are_not_changed_and_texts_are_encoded_once(
    asked: Asked, plain: MilvusClient, mini: Encoder, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_fields(plain, name)
    calls = counting(monkeypatch)
    rows = [{"id": "a", "text": "one"}, {"id": "b", "text": "one"}, {"id": "c", "text": "two", "small": "three"}]
    before = [dict(row) for row in rows]
    asked("insert", name, rows)
    assert rows == before
    assert calls == [["one", "two", "three"]]
    monkeypatch.undo()
    for field, dim in (("vector", DIMENSIONS), ("small", 32)):
        held = stored(plain, name, field)
        np.testing.assert_allclose(held["b"], mini.encode_documents("one", dimensions=dim), atol=1e-6)
    np.testing.assert_allclose(held["c"], mini.encode_documents("three", dimensions=32), atol=1e-6)


def test_text_in_a_search_of_two_fields_needs_the_name_of_one(asked: Asked, plain: MilvusClient, name: str) -> None:
    two_fields(plain, name)
    asked("insert", name, ROWS)
    with pytest.raises(ValueError, match=f"{name} has the vector fields vector, small: say which with anns_field"):
        asked("search", name, QUESTIONS)
    found = asked("search", name, QUESTIONS, anns_field="small", limit=1, consistency_level="Strong")
    assert [hits[0]["id"] for hits in found] == ["bread", "tides"]
    positional = asked("search", name, QUESTIONS, "", 1, ["text"], None, None, None, "small", consistency_level="Strong")
    assert [hits[0]["entity"]["text"] for hits in positional] == [TEXTS["bread"], TEXTS["tides"]]


def test_hybrid_search_with_text_for_vectors_and_for_bm25(
    asked: Asked, plain: MilvusClient, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "function_score" not in milvus_pb2.HybridSearchRequest.DESCRIPTOR.fields_by_name:
        pytest.skip("milvus-lite 3.2 cannot read the hybrid_search of pymilvus 2.5")
    schema = plain.create_schema()
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=64)
    schema.add_field("text", DataType.VARCHAR, max_length=500, enable_analyzer=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIMENSIONS)
    schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(Function("bm25", FunctionType.BM25, ["text"], ["words"]))
    index = TextCollection(DIMENSIONS).index_params()
    index.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
    plain.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    asked("insert", name, ROWS)
    calls = counting(monkeypatch)
    requests = [
        AnnSearchRequest([QUESTIONS[0]], "vector", {}, 4),
        AnnSearchRequest(["moon"], "words", {}, 4, expr="id != 'bread'"),
    ]
    (hits,) = asked("hybrid_search", name, requests, RRFRanker(), limit=2)
    assert {hit["id"] for hit in hits} == {"bread", "tides"}
    assert calls == [[QUESTIONS[0]]]
    assert requests[0].data == [QUESTIONS[0]]
    (hits,) = asked("search", name, ["moon"], anns_field="words", limit=3)
    assert [hit["id"] for hit in hits] == ["tides"]
    assert len(calls) == 1


@on("server")
def test_hybrid_search_is_refused_by_name_where_the_server_has_none(asked: Asked) -> None:
    if not hasattr(asked.client, "get_server_version"):
        pytest.skip("the async client of pymilvus 2.5 cannot ask for the version")
    with pytest.raises(NotImplementedError, match=r"Milvus 2\.3\.5 has no hybrid_search: search field by field and merge"):
        asked("hybrid_search", "docs", [AnnSearchRequest(["a"], "vector", {}, 1)], RRFRanker())


def test_a_field_wider_than_the_model_names_both(asked: Asked, plain: MilvusClient, name: str) -> None:
    TextCollection(1024).create(plain, name)
    said = f"the field vector of {name} has dim 1024, mini has vectors of 384: make the field for 384 or fewer"
    with pytest.raises(ValueError, match=said):
        asked("insert", name, ROWS)
    with pytest.raises(ValueError, match=said):
        asked("search", name, ["a"])


@on("lite", "server-soak")
def test_a_collection_that_was_made_anew_is_read_anew(plain: MilvusClient, mini: Encoder, uri: str, name: str) -> None:
    asked = Asked(TaskvecMilvusClient, uri, encoder=mini, text_field="text")
    remade(asked, plain, name, (DIMENSIONS, 32))
    asked.close()


def test_a_collection_that_was_too_wide_is_read_anew(asked: Asked, plain: MilvusClient, name: str) -> None:
    remade(asked, plain, name, (DIMENSIONS, 1024, 64))


def test_errors_of_the_engine_stay_its_own(asked: Asked, plain: MilvusClient, name: str) -> None:
    with pytest.raises(MilvusException, match=r"not found|not exist"):
        asked("insert", name, ROWS)
    TextCollection(DIMENSIONS).create(plain, name)
    for _ in range(2):
        with pytest.raises(MilvusException, match="vector"):
            asked("insert", name, [{"id": "a", "text": "b", "vector": [1.0]}, {"id": "c", "text": "d"}])
        with pytest.raises(MilvusException):
            asked("search", name, ["a"], filter="no filter")
        with pytest.raises(TypeError, match="data"):
            asked("insert", name, "a text is no row")


def test_empty_calls(asked: Asked, plain: MilvusClient, name: str) -> None:
    TextCollection(DIMENSIONS).create(plain, name, consistency_level="Strong")
    assert asked("insert", name, [])["insert_count"] == 0
    asked("insert", name, {"id": "a", "text": ""})
    assert list(stored(plain, name)) == ["a"]
    assert [hit["id"] for hit in asked("search", name, "", limit=1)[0]] == ["a"]


def test_flushed_rows_are_found(asked: Asked, plain: MilvusClient, name: str) -> None:
    TextCollection(DIMENSIONS).create(plain, name, consistency_level="Strong")
    asked("insert", name, ROWS[:2])
    plain.flush(name)
    asked("insert", name, ROWS[2:])
    assert {hit["id"] for hit in asked("search", name, ["?"], limit=4)[0]} == set(TEXTS)


@pytest.mark.skipif(not hasattr(AsyncMilvusClient, "get_server_version"), reason="pymilvus 2.5 cannot ask what it talks to")
def test_an_async_client_makes_no_collection_on_milvus_lite(plain: MilvusClient, mini: Encoder, uri: str, name: str) -> None:
    asked = Asked(AsyncTaskvecMilvusClient, uri, encoder=mini, text_field="text")
    with pytest.raises(NotImplementedError, match=r"milvus-lite .* make it with create and a MilvusClient of the same file"):
        asked.create(TextCollection(DIMENSIONS), name)
    assert not plain.has_collection(name)
    TextCollection(DIMENSIONS).create(plain, name, consistency_level="Strong")
    asked("insert", name, ROWS)
    assert [hit["id"] for hit in asked("search", name, [QUESTIONS[0]], limit=1)[0]] == ["bread"]
    asked.close()


@on("lite")
def test_a_text_that_is_cut_is_warned_of(asked: Asked, plain: MilvusClient, name: str, caplog: pytest.LogCaptureFixture) -> None:
    TextCollection(DIMENSIONS).create(plain, name, consistency_level="Strong")
    asked("insert", name, ROWS)
    assert not [record for record in caplog.records if record.name == "taskvec"]
    asked("insert", name, [{"id": "long", "text": "word " * 9000}])
    assert [record.message for record in caplog.records if record.name == "taskvec"] == [
        "1 texts were cut at 8192 tokens, the context of mini"
    ]


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


def test_without_a_text_field_a_missing_vector_is_missed(plain: MilvusClient, mini: Encoder, uri: str, name: str) -> None:
    client = TaskvecMilvusClient(uri, encoder=mini)
    TextCollection(DIMENSIONS).create(client, name)
    with pytest.raises(MilvusException, match="missed an field `vector`"):
        client.insert(name, ROWS)
    client.close()


def test_the_event_loop_goes_on_while_texts_are_encoded(
    plain: MilvusClient, mini: Encoder, uri: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    TextCollection(DIMENSIONS).create(plain, name, consistency_level="Strong")
    encode = Encoder.encode

    def slowly(self: Encoder, texts: Any, **options: Any) -> Any:
        time.sleep(0.2)
        return encode(self, texts, **options)

    monkeypatch.setattr(Encoder, "encode", slowly)

    async def tick(gaps: list[float]) -> None:
        while True:
            start = time.perf_counter()
            await asyncio.sleep(0.005)
            gaps.append(time.perf_counter() - start)

    async def main() -> float:
        client = AsyncTaskvecMilvusClient(uri, encoder=mini, text_field="text")
        await client.search(name, ["warm"])
        gaps: list[float] = []
        ticking = asyncio.create_task(tick(gaps))
        await asyncio.gather(client.insert(name, ROWS), client.search(name, ["a"]))
        ticking.cancel()
        await client.close()
        assert len(gaps) > 10
        return max(gaps)

    assert asyncio.run(main()) < 0.15


def test_signatures_and_docstrings_are_those_of_pymilvus() -> None:
    for ours, theirs in ((TaskvecMilvusClient, MilvusClient), (AsyncTaskvecMilvusClient, AsyncMilvusClient)):
        for method in ("insert", "upsert", "search", "hybrid_search"):
            made, original = getattr(ours, method), getattr(theirs, method)
            assert inspect.signature(made) == inspect.signature(original)
            assert made.__doc__ == original.__doc__
            assert inspect.iscoroutinefunction(made) == inspect.iscoroutinefunction(original)


def test_nonsense_is_refused_before_anything_is_connected() -> None:
    with pytest.raises(ValueError, match="unknown task 'passage'"):
        TaskvecMilvusClient("nowhere", encoder="mini", document_task="passage")
    with pytest.raises(TypeError, match="encoder is 3"):
        TaskvecMilvusClient("nowhere", encoder=3)
    with pytest.raises(TypeError, match="text_field is 3"):
        AsyncTaskvecMilvusClient("nowhere", encoder="mini", text_field=3)


def test_close_lets_a_named_encoder_go_and_leaves_a_given_one(lite_uri: str, mini: Encoder) -> None:
    client = TaskvecMilvusClient(lite_uri, encoder=mini)
    client.close()
    assert mini.encode("a").shape == (384,)
    named = TaskvecMilvusClient(lite_uri, encoder="mini")
    encoder = named._texts._encoder.get()
    named.close()
    with pytest.raises(RuntimeError, match="closed"):
        encoder.encode("a")
