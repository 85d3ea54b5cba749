"""The emulator refuses what Pinecone's documentation refuses, so that a request it takes means something."""

import json
from math import inf
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from support.pinecone.emulator import API_VERSIONS, KEY, PineconeServer, pinecone
from support.pinecone.filters import RejectedError, matches

GOOD = {"id": "a", "values": [1.0, 0.0, 0.5]}


def send(server: PineconeServer, path: str, body: Any, key: str = KEY, version: str = API_VERSIONS[-1]) -> tuple[int, Any]:
    """The status and the answer, or its message, for a request that no SDK made."""
    headers = {"Api-Key": key, "X-Pinecone-Api-Version": version, "Content-Type": "application/json"}
    try:
        with urlopen(Request(server.url + path, json.dumps(body).encode(), headers)) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)["message"]


def upserting(**changed: Any) -> dict[str, Any]:
    return {"vectors": [{**GOOD, **changed}]}


REFUSED: list[tuple[str, Any, int, str]] = [
    ("/vectors/upsert", upserting(values=[1.0]), 400, "Vector dimension 1 does not match the dimension of the index 3"),
    ("/vectors/upsert", upserting(values=[0, 0, 0]), 400, "Dense vectors must contain at least one non-zero value"),
    ("/vectors/upsert", upserting(id="é"), 400, "Vector ID must be ASCII, but got 'é'"),
    ("/vectors/upsert", upserting(id="a" * 513), 400, "Vector ID length 513 is not between 1 and 512"),
    ("/vectors/upsert", upserting(metadata={"a": None}), 400, "Metadata value must be a string, number, boolean or list of"),
    ("/vectors/upsert", upserting(metadata={"a": {}}), 400, "got '{}' for field 'a'"),
    ("/vectors/upsert", upserting(metadata={"a": "x" * 40_960}), 400, "exceeds the limit of 40960 bytes per vector"),
    ("/vectors/upsert", {"vectors": [GOOD] * 1001}, 400, "The number of vectors 1001 exceeds the maximum of 1000 per request"),
    ("/vectors/upsert", {"vectors": [GOOD], "namespace": "x" * 2**21}, 413, "exceeds the maximum supported size of 2MB"),
    ("/query", {"topK": 10_001, "vector": GOOD["values"]}, 400, "top_k must be between 1 and 10000, got 10001"),
    ("/query", {"topK": 1}, 400, "Exactly one of vector and id must be provided"),
    ("/vectors/delete", {"ids": ["a"], "namespace": "none"}, 404, "Namespace not found"),
    ("/records/namespaces/n/search", {"query": {"inputs": {"text": "a"}, "top_k": 1}}, 400, "Integrated inference is not"),
    ("/documents", {}, 404, "is not supported"),
]


@pytest.mark.parametrize(("path", "body", "status", "message"), REFUSED, ids=lambda value: str(value)[:40])
def test_limits(path: str, body: Any, status: int, message: str) -> None:
    with pinecone(3) as server:
        code, answer = send(server, path, body)
        assert (code, message in answer) == (status, True), answer
        assert server.stored() == {}


BROKEN = [
    ("/vectors/upsert", {"vectors": [{**GOOD, "vector": [1.0]}]}, r"vectors/upsert.vectors\[0\]: vector is unknown"),
    ("/vectors/upsert", {"vectors": [{"values": [1.0]}]}, r"vectors/upsert.vectors\[0\]: id is missing"),
    ("/vectors/upsert", {"vectors": GOOD}, "vectors/upsert.vectors: a list was expected"),
    ("/vectors/upsert", upserting(values=[1.0, "b", True]), r"values\[1\]: 'b' is not a number"),
    ("/query", {"topK": "1", "id": "a"}, "query.topK: '1' is not a whole number"),
    ("/records/namespaces/n/search", {"query": {"vector": [1.0], "top_k": 1}}, "query.vector: an object was expected"),
]


@pytest.mark.parametrize(("path", "body", "message"), BROKEN, ids=lambda value: str(value)[:40])
def test_a_body_that_is_not_documented_fails_the_test(path: str, body: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message), pinecone(3) as server:
        assert send(server, path, body)[0] == 400


def test_so_does_an_unknown_version() -> None:
    with pytest.raises(AssertionError, match="X-Pinecone-Api-Version is '2020-01'"), pinecone(3) as server:
        send(server, "/describe_index_stats", {}, version="2020-01")


def test_a_key_is_needed() -> None:
    with pinecone(3) as server:
        assert send(server, "/describe_index_stats", {}, key="another") == (401, "Invalid API Key")


def test_writes_can_show_late() -> None:
    with pinecone(3, lag=inf) as server:
        send(server, "/vectors/upsert", upserting())
        assert send(server, "/describe_index_stats", {})[1]["totalVectorCount"] == 0
        assert [*server.stored()] == ["a"]


def test_faults_strike_in_turn() -> None:
    with pinecone(3) as server:
        server.fail(503, "vectors/upsert", every=2, times=1)
        assert [send(server, "/vectors/upsert", upserting())[0] for _ in range(4)] == [200, 503, 200, 200]
        server.fail(500, times=1, landed=True)
        assert send(server, "/vectors/upsert", upserting(id="landed"))[0] == 500
        assert "landed" in server.stored()


STORED = {"year": 2020.0, "tags": ["a", "b"], "open": True, "name": "x"}
FILTERS: list[tuple[dict[str, Any], bool]] = [
    ({"year": 2020}, True),
    ({"year": {"$eq": 2021}}, False),
    ({"year": {"$gte": 2020, "$lt": 2021}}, True),
    ({"year": {"$gt": 2020}}, False),
    ({"tags": "a"}, True),
    ({"tags": {"$in": ["b", "z"]}}, True),
    ({"tags": {"$nin": ["b"]}}, False),
    ({"tags": {"$ne": "z"}}, True),
    ({"none": {"$exists": False}}, True),
    ({"none": {"$ne": "z"}}, True),
    ({"open": {"$exists": True}, "name": "x"}, True),
    ({"$or": [{"name": "y"}, {"$and": [{"open": True}, {"year": {"$lte": 2020}}]}]}, True),
]


@pytest.mark.parametrize(("filter", "passes"), FILTERS, ids=str)
def test_filters(filter: dict[str, Any], passes: bool) -> None:
    assert matches(filter, STORED) is passes


@pytest.mark.parametrize("filter", [{"a": {"$like": "b"}}, {"$not": []}, {"$and": {}}, {"a": {"$gt": "b"}}, {"a": {"$in": "b"}}])
def test_bad_filters(filter: dict[str, Any]) -> None:
    with pytest.raises(RejectedError):
        matches(filter, STORED)
