"""Requests that are wrong: what every dialect is told, in the fields where its clients look."""

import json
from typing import Any

import httpx
import numpy as np
import pytest

from taskvec import Encoder

BODY = {"model": "mini", "input": ["Bread rises."], "dimensions": 8}
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("fields", "status", "sentence"),
    [
        ({"model": "gpt"}, 404, "model 'gpt' is not served here: use one of mini, jinaai/jina-embeddings-v3"),
        ({"model": "mini:nothing"}, 404, "model 'mini:nothing' is not served"),
        ({"model": 3}, 422, "model: it is 3: Input should be a valid string"),
        ({"input": []}, 422, "input: it is empty: send at least one text"),
        ({"input": ""}, 422, "input: it is an empty text"),
        ({"input": ["a", ""]}, 422, "input: item 1 is an empty text"),
        ({"input": ["a", None]}, 422, "input: item 1 is of type NoneType"),
        ({"input": {"image": "x"}}, 422, "input: it is of type dict"),
        ({"input": ["a", {"text": "b", "title": "c"}]}, 422, "input: item 1 is of type dict"),
        ({"input": [[101, 102]]}, 422, "check_embedding_ctx_length=False"),
        ({"input": [101, 102]}, 422, "check_embedding_ctx_length=False"),
        ({"input": "\ud800"}, 422, "lone surrogate"),
        ({"input": ["a"] * 2049}, 422, "the request has 2049 texts, the limit is 2048"),
        ({"input": "yeast " * 9000}, 422, "text 0 has 9002 tokens, instruction included, but the limit is 8192"),
        ({"task": "search"}, 422, "unknown task 'search': use one of retrieval.query, retrieval.passage"),
        ({"task": "retrieval.passage", "model": "mini:query"}, 422, "choose the task once"),
        ({"dimensions": 385}, 422, "dimensions is 385, but this model's vectors have 384: use 1 to 384"),
        ({"dimensions": 0}, 422, "dimensions: it is 0: Input should be greater than or equal to 1"),
        ({"dimensions": "8"}, 422, "dimensions: it is '8': Input should be a valid integer"),
        ({"dimensions": 2**70}, 422, "dimensions"),
        ({"late_chunking": "yes"}, 422, "late_chunking: it is 'yes': Input should be a valid boolean"),
        ({"late_chuncking": True}, 422, "there is no field 'late_chuncking': see /docs for the fields"),
        ({"embedding_type": "int4"}, 422, "embedding_type"),
        ({"embedding_type": []}, 422, "embedding_type"),
        ({"embedding_type": "float", "encoding_format": "base64"}, 422, "disagree: send one of them"),
        ({"embedding_type": "binary", "dimensions": 9}, 422, "dimensions is 9, which is not a multiple of 8"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_wrong_is_said_in_the_fields_of_all_dialects(
    client: httpx.Client, fields: dict[str, Any], status: int, sentence: str
) -> None:
    response = client.post("/v1/embeddings", content=json.dumps({**BODY, **fields}).encode(), headers=JSON)
    assert response.status_code == status
    body = response.json()
    assert sentence in body["detail"]
    assert body["error"]["message"] == body["detail"]
    assert body["error"]["code"] == status
    assert ("errors" in body) == (status == 422)


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("/embed", {"inputs": "a", "prompt_name": "ask"}, "prompt_name is 'ask': use one of query, passage"),
        ("/embed", {"inputs": "a", "prompt_name": "query", "task": "separation"}, "both choose the task"),
        ("/embed", {"inputs": "a", "truncation_direction": "left"}, "truncation_direction: it is 'left'"),
        ("/embed", {"inputs": "a", "top": 1}, "there is no field 'top'"),
        (
            "/embed",
            {"model": "mini", "inputs": ["a"], "parameters": {"input_type": "text"}},
            "parameters.input_type: it is 'text'",
        ),
        ("/embed", {"model": "mini", "inputs": ["a"], "parameters": {"input_type": "query", "task": "none"}}, "both choose"),
        ("/invocations", {"data": []}, "data: it is empty"),
        ("/score", {"input": "a"}, "model: it is missing"),
        ("/", {}, "inputs: it is missing"),
    ],
    ids=str,
)
def test_other_dialects_say_what_is_wrong(client: httpx.Client, path: str, body: dict[str, Any], sentence: str) -> None:
    response = client.post(path, json=body)
    assert response.status_code == 422
    assert sentence in response.json()["detail"]


@pytest.mark.parametrize(
    ("content", "headers", "status", "sentence"),
    [
        (b'{"model":', JSON, 422, "the body is not JSON"),
        (b"[" * 50_000, JSON, 400, ""),
        (b"\xff\xfe", JSON, 422, "the body is not JSON"),
        (b"", JSON, 422, "body"),
        (b'"text"', JSON, 422, "body"),
        (json.dumps(BODY).encode(), {"content-type": "application/x-www-form-urlencoded"}, 422, "Content-Type: application/json"),
        (json.dumps(BODY).encode(), {}, 422, "Content-Type: application/json"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bodies_that_are_not_requests(
    client: httpx.Client, content: bytes, headers: dict[str, str], status: int, sentence: str
) -> None:
    response = client.post("/v1/embeddings", content=content, headers=headers)
    assert response.status_code == status
    assert sentence in response.json()["detail"]
    assert response.json()["error"]["message"]


def test_unknown_paths_and_methods_have_the_same_shape(client: httpx.Client) -> None:
    assert client.get("/v1/nothing").json()["error"]["code"] == 404
    assert client.get("/v1/embeddings").json()["error"]["code"] == 405
    assert client.get("/embed").headers["allow"] == "POST"
    assert client.get("/query/v1/embeddings").headers["allow"] == "POST"
    assert client.put("/").headers["allow"] in ("GET, POST", "POST, GET")


@pytest.mark.parametrize(
    "body",
    [
        {**BODY, **{f"field{number}": 1 for number in range(100_000)}},
        {**BODY, "embedding_type": ["x"] * 500_000},
        {**BODY, "input": [1] * 500_000},
        {**BODY, "input": ["a"] * 1_000_000},
        {**BODY, "model": "x" * 5_000_000},
        {**BODY, "task": "x" * 5_000_000},
    ],
    ids=["fields", "formats", "token ids", "texts", "model", "task"],
)
def test_a_large_mistake_has_a_small_response(client: httpx.Client, body: dict[str, Any]) -> None:
    response = client.post("/v1/embeddings", json=body)
    assert response.status_code == 422
    assert len(response.content) < 20_000


def test_an_endless_text_is_not_tokenized(client: httpx.Client, mini: Encoder) -> None:
    response = client.post("/v1/embeddings", json={**BODY, "input": "a " * 300_000})
    assert response.status_code == 422
    assert "text 0 has 600000 characters, the limit is 524288" in response.json()["detail"]
    cut = client.post("/v1/embeddings", json={**BODY, "input": "a " * 300_000, "truncate": True}).json()["data"][0]["embedding"]
    np.testing.assert_allclose(cut, mini.encode("a " * 9000, task="text-matching", dimensions=8), atol=2e-6)
