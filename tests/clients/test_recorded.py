"""The bodies that clients were recorded to send, against a server of ours: what comes back is the library's, task included."""

import base64
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest

from support.server.clients import CHUNKS, MODEL, PASSAGE, QUERY, TEXTS, WANTED, Wanted, same
from taskvec import Encoder, Task, Usage


@dataclass(frozen=True)
class Recorded:
    """One request of a client, and the vectors it asks for."""

    path: str
    body: dict[str, Any]
    wanted: Wanted


def one(text: str, **settings: Any) -> Wanted:
    return Wanted(texts=(text,), **settings)


JINA, INVOCATIONS = "/v1/embeddings", "/invocations"
HI = {"model": MODEL, "input": ["hi"]}
LATE = Wanted(PASSAGE, (*CHUNKS,), dimensions=8, late_chunking=True)
TEI = {"normalize": True, "truncate": True, "truncation_direction": "right"}
RECORDED = {
    "haystack query": Recorded(JINA, {**HI, "task": "retrieval.query", "dimensions": 8}, one("hi", task=QUERY, dimensions=8)),
    "haystack documents": Recorded(
        JINA, {"input": CHUNKS, "model": MODEL, "task": "retrieval.passage", "dimensions": 8, "late_chunking": True}, LATE
    ),
    "llama-index": Recorded(
        JINA,
        {**HI, "encoding_type": "float", "task": "retrieval.query", "dimensions": 8},
        one("hi", task=QUERY, dimensions=8),
    ),
    "pymilvus": Recorded(
        JINA,
        {**HI, "task": "retrieval.query", "late_chunking": False, "dimensions": 8},
        one("hi", task=QUERY, dimensions=8),
    ),
    "pymilvus without a task": Recorded(JINA, {**HI, "task": None, "late_chunking": False}, one("hi")),
    "pymilvus, for the width": Recorded(JINA, {"model": MODEL, "input": [""], "task": None, "late_chunking": False}, one("")),
    "openai": Recorded(
        JINA,
        {"model": MODEL, "input": ["a", "b"], "dimensions": 8, "encoding_format": "base64"},
        Wanted(texts=("a", "b"), dimensions=8),
    ),
    "litellm": Recorded(JINA, {**HI, "dimensions": 8, "task": "retrieval.passage"}, one("hi", task=PASSAGE, dimensions=8)),
    "chromadb": Recorded(JINA, {**HI, "task": "retrieval.passage", "dimensions": 8}, one("hi", task=PASSAGE, dimensions=8)),
    "agno, camel-ai": Recorded(JINA, {**HI, "task": "separation", "embedding_type": "float"}, one("hi", task=Task.SEPARATION)),
    "dify jina documents": Recorded(JINA, {**HI, "task": "retrieval.passage"}, one("hi", task=PASSAGE)),
    "dify jina query": Recorded(JINA, {**HI, "task": "retrieval.query"}, one("hi", task=QUERY)),
    "dify openai": Recorded(JINA, {**HI, "user": "u1", "encoding_format": "float"}, one("hi")),
    "dify openai, credentials": Recorded(JINA, {"input": "ping", "model": MODEL}, one("ping")),
    "dify openai, documents by path": Recorded(
        f"/passage{JINA}", {**HI, "user": "u1", "encoding_format": "float"}, one("hi", task=PASSAGE)
    ),
    "huggingface query": Recorded("/", {"inputs": "hello", "prompt_name": "retrieval.query", **TEI}, one("hello", task=QUERY)),
    "huggingface short": Recorded("/embed", {"inputs": "hello", "dimensions": 8}, one("hello", dimensions=8)),
    "llama-index tei, milvus tei": Recorded("/embed", {"inputs": ["q"], "truncate": True}, one("q")),
    "pinecone": Recorded(
        "/embed",
        {
            "model": MODEL,
            "inputs": [{"text": "a"}, {"text": "b"}],
            "parameters": {"input_type": "passage", "truncate": "END", "dimension": 2},
        },
        Wanted(PASSAGE, ("a", "b"), 2),
    ),
    "sagemaker": Recorded(
        INVOCATIONS,
        {
            "data": [{"text": chunk} for chunk in CHUNKS],
            "parameters": {"task": "retrieval.passage", "late_chunking": True, "dimensions": 8},
        },
        LATE,
    ),
    "azure ml": Recorded("/score", {"input": TEXTS, "model": MODEL, "task": "retrieval.query"}, WANTED["query"]),
}


def rows(body: Any) -> list[Any]:
    """The vectors of an answer in any dialect; each row says where it belongs."""
    if isinstance(body, list):
        return body
    if "vector_type" in body:
        return [row["values"] for row in body["data"]]
    assert [row["index"] for row in body["data"]] == [*range(len(body["data"]))]
    assert {row["object"] for row in body["data"]} == {"embedding"}
    assert body["object"] == "list"
    vectors = [row["embedding"] for row in body["data"]]
    return [np.frombuffer(base64.b64decode(row), "<f4") if isinstance(row, str) else row for row in vectors]


@pytest.mark.parametrize("recorded", RECORDED.values(), ids=RECORDED)
def test_recorded_bodies_get_the_library_s_vectors(client: httpx.Client, mini: Encoder, recorded: Recorded) -> None:
    answer = client.post(recorded.path, json=recorded.body)
    assert answer.status_code == 200, answer.text
    body, usage = answer.json(), Usage()
    same(rows(body), recorded.wanted.vectors(mini, usage))
    if isinstance(body, dict):
        assert body["model"] == recorded.body.get("model", "mini")
        assert {*body["usage"].values()} == {usage.tokens}


@pytest.mark.parametrize(
    "wanted", [*WANTED.values(), *(recorded.wanted for recorded in RECORDED.values())], ids=[*WANTED, *RECORDED]
)
def test_the_check_sees_what_a_server_could_get_wrong(mini: Encoder, wanted: Wanted) -> None:
    for mistaken in wanted.mistaken():
        with pytest.raises(AssertionError):
            same(mistaken.vectors(mini), wanted.vectors(mini))


@pytest.mark.parametrize("given", ["", ["", ""], ["a", ""], [{"text": ""}], []], ids=str)
def test_no_other_empty_text_is_taken(client: httpx.Client, given: Any) -> None:
    answer = client.post(JINA, json={"model": MODEL, "input": given})
    assert answer.status_code == 422
    assert "empty" in answer.json()["detail"]


def test_pinecone_describes_a_model(client: httpx.Client, mini: Encoder) -> None:
    described = client.get(f"/models/{MODEL}").json()
    assert (described["model"], described["default_dimension"]) == (MODEL, mini.dimensions)
    assert described in client.get("/models").json()["models"]
    assert client.get("/models/gpt-4").status_code == 404
