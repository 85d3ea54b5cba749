"""What is wrong with records and indexes is told before anything is sent: the value, the limit and what to do."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from support.pinecone.emulator import PineconeServer, pinecone
from support.pinecone.indexes import TEXTS, Face, async_index, faces, records, sync_index
from taskvec import Encoder
from taskvec_integrations.pinecone import AsyncTaskvecIndex, TaskvecIndex

GOOD = {"_id": "good", "text": "a text"}

WRONG: list[tuple[Any, type[Exception], str]] = [
    ({"_id": "a", "text": "b"}, TypeError, "records is dict: pass a list of records"),
    (iter([GOOD]), TypeError, "records is list_iterator: pass a list of records"),
    ([GOOD, "b"], TypeError, "record 1 is str: pass a dict with an '_id'"),
    ([GOOD, {"text": "b"}], ValueError, "record 1 has no '_id': every record needs one"),
    ([GOOD, {"_id": 7, "text": "b"}], TypeError, "record 1 has the id 7: ids must be str"),
    ([{"_id": "año", "text": "b"}], ValueError, "record 0 has the id 'año': Pinecone takes ASCII only, so encode it"),
    (
        [{"_id": "a" * 513, "text": "b"}],
        ValueError,
        "record 0 has an id of 513 characters, 'a+'...: Pinecone takes 1 to 512 characters",
    ),
    ([{"_id": "", "text": "b"}], ValueError, "has an id of 0 characters"),
    ([{"_id": "a", "body": "b"}], ValueError, "record 'a' has no field 'text' to embed, it has 'body': name .* text_field="),
    ([{"_id": "a", "text": 3}], TypeError, "record 'a', field 'text' is int: a str was expected"),
    ([{**GOOD, "year": None}], ValueError, "record 'good' has None in the field 'year': Pinecone stores neither nulls nor"),
    ([{**GOOD, "year": float("nan")}], ValueError, "record 'good' has nan in the field 'year'"),
    ([{**GOOD, "year": 10**30}], ValueError, "'good' has a value in the field 'year' that JSON cannot hold: Integer exceeds"),
    ([{**GOOD, "name": "\ud800"}], ValueError, "'good' has a value in the field 'name' that JSON cannot hold: str is not"),
    ([{**GOOD, "at": {"x": 1}}], TypeError, "record 'good' has dict in the field 'at': Pinecone stores str, bool, int"),
    ([{**GOOD, "at": [1, 2]}], TypeError, "record 'good' has list in the field 'at'"),
    ([{**GOOD, "long": "x" * 41_000}], ValueError, r"'good' has 41,0\d\d bytes of metadata, Pinecone takes 40,960: .*'long'"),
]


@pytest.mark.parametrize(("arguments", "kind", "message"), WRONG, ids=[message[:60] for *_, message in WRONG])
def test_bad_records_are_refused_before_anything_is_sent(
    face: Face, server: PineconeServer, arguments: Any, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        face.upsert_records(records=arguments, namespace="__default__")
    assert server.sent("vectors/upsert") == []


SEARCHES: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({}, ValueError, "a search needs exactly one of inputs, vector and id, this one has none of them"),
    ({"inputs": {"text": "a"}, "id": "b"}, ValueError, "this one has inputs and id"),
    ({"inputs": "a"}, TypeError, r"inputs is 'a': pass {'text': str}"),
    ({"inputs": {"text": "a", "title": "b"}}, TypeError, "inputs is {'text': 'a', 'title': 'b'}"),
    ({"query": {"inputs": {"text": "a"}, "top_k": 1}}, TypeError, r"query= came with top_k: put everything into query"),
]


@pytest.mark.parametrize(("arguments", "kind", "message"), SEARCHES, ids=[message[:60] for *_, message in SEARCHES])
def test_bad_searches_are_refused(face: Face, arguments: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        face.search(namespace="__default__", top_k=1, **arguments)


@pytest.mark.parametrize("method", ["upsert_records", "search"])
def test_an_index_of_another_dimension_is_refused(mini: Encoder, method: str) -> None:
    arguments: dict[str, dict[str, Any]] = {
        "upsert_records": {"records": records()},
        "search": {"inputs": {"text": TEXTS[0]}, "top_k": 1},
    }
    with pinecone(256) as server, faces("sync", server.url, encoder=mini) as index:
        with pytest.raises(
            ValueError, match="the index has dimension 256, mini returns vectors of 384: pass dimensions=256, or create an index"
        ):
            getattr(index, method)(namespace="__default__", **arguments[method])
        assert [request.operation for request in server.requests] == ["describe_index_stats"]


def test_the_dimension_is_asked_for_once(face: Face, server: PineconeServer) -> None:
    for _ in range(3):
        face.search(namespace="__default__", inputs={"text": "a"}, top_k=1)
    assert len(server.sent("describe_index_stats")) == 1


def test_each_index_has_its_wrapper(server: PineconeServer, mini: Encoder) -> None:
    async def wrap() -> None:
        async with AsyncExitStack() as stack:
            index = await async_index(server.url, stack)
            stack.push_async_callback(index.close)
            with pytest.raises(TypeError, match=r"TaskvecIndex was given .*: use AsyncTaskvecIndex for it"):
                TaskvecIndex(index, mini)

    asyncio.run(wrap())
    with pytest.raises(TypeError, match=r"AsyncTaskvecIndex was given .*: use TaskvecIndex for it"):
        AsyncTaskvecIndex(sync_index(server.url), mini)
    with pytest.raises(TypeError, match=r"index is 'docs', not an index of Pinecone's SDK: make one with pc\.index"):
        TaskvecIndex("docs", mini)


def test_an_index_that_was_not_awaited(mini: Encoder) -> None:
    async def index() -> None: ...

    coroutine = index()
    with pytest.raises(TypeError, match="not an index of Pinecone's SDK: await it first"):
        AsyncTaskvecIndex(coroutine, mini)
    coroutine.close()


def test_unknown_options_fail(server: PineconeServer, mini: Encoder) -> None:
    with pytest.raises(TypeError, match="txt_field"):
        TaskvecIndex(sync_index(server.url), mini, txt_field="a")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="unknown task 'search': use one of"):
        TaskvecIndex(sync_index(server.url), mini, query_task="search")


def test_pinecones_own_refusals_come_through(face: Face, server: PineconeServer) -> None:
    with pytest.raises(Exception, match="Invalid operator: \\$like"):
        face.search(namespace="__default__", inputs={"text": "a"}, top_k=1, filter={"a": {"$like": "b"}})
