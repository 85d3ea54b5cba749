"""Every route against the library: the same vectors, the right task, the dialect's own answer."""

import base64
from typing import Any

import httpx
import numpy as np
import pytest

from support.server.app import serving
from taskvec import Encoder, Task, quantize

TEXTS = ["Berlin is the capital of Germany.", "The city has 3.8 million inhabitants.", "Bread."]
MODEL = "jina-embeddings-v3"


def rows(answer: httpx.Response) -> np.ndarray:
    """The vectors of any dialect's answer."""
    assert answer.status_code == 200, answer.text
    body = answer.json()
    if isinstance(body, list):
        return np.array(body, dtype=np.float32)
    return np.array([row.get("embedding", row.get("values")) for row in body["data"]], dtype=np.float32)


def same(answer: httpx.Response, expected: np.ndarray) -> None:
    got = rows(answer)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, atol=2e-6)


def jina(**fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "input": TEXTS, **fields}


@pytest.mark.parametrize("task", [*Task])
def test_embeddings_of_each_task(client: httpx.Client, mini: Encoder, task: Task) -> None:
    answer = client.post("/v1/embeddings", json=jina(task=str(task), dimensions=100))
    same(answer, mini.encode(TEXTS, task=task, dimensions=100))
    body = answer.json()
    assert body["object"] == "list"
    assert body["model"] == MODEL
    assert [(row["object"], row["index"]) for row in body["data"]] == [("embedding", place) for place in range(3)]
    tokens = sum(mini.count_tokens([task.instruction + text for text in TEXTS]))
    assert body["usage"] == {"total_tokens": tokens, "prompt_tokens": tokens}


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({}, {"task": "text-matching"}),
        ({"task": None, "late_chunking": None, "embedding_type": None, "encoding_format": None}, {"task": "text-matching"}),
        ({"dimensions": None, "normalized": None, "truncate": None, "user": None}, {}),
        ({"dimensions": 8.0}, {"dimensions": 8}),
        ({"task": "none"}, {"task": None}),
        ({"late_chunking": True, "task": "retrieval.passage"}, {"late_chunking": True, "task": "retrieval.passage"}),
        ({"normalized": False, "dimensions": 7}, {"normalize": False, "dimensions": 7}),
        ({"dimensions": 1}, {"dimensions": 1}),
        ({"user": "u1", "encoding_format": "float"}, {}),
        ({"encoding_type": "float", "embedding_type": ["float"]}, {}),
        ({"model": "mini"}, {}),
        ({"model": "JinaAI/jina-embeddings-v3"}, {}),
        ({"model": f"{MODEL}:query"}, {"task": "retrieval.query"}),
        ({"model": f"{MODEL}:passage"}, {"task": "retrieval.passage"}),
        ({"model": f"{MODEL}:separation"}, {"task": "separation"}),
        ({"model": f"{MODEL}:query", "task": "retrieval.query"}, {"task": "retrieval.query"}),
        ({"input": [{"text": TEXTS[0]}, TEXTS[1], {"text": TEXTS[2]}]}, {}),
    ],
    ids=str,
)
def test_what_a_request_says_is_what_the_encoder_does(
    client: httpx.Client, mini: Encoder, fields: dict[str, Any], options: dict[str, Any]
) -> None:
    same(client.post("/v1/embeddings", json=jina(**fields)), mini.encode(TEXTS, **options))


@pytest.mark.parametrize(("prefix", "task"), [("query", "retrieval.query"), ("passage", "retrieval.passage")])
def test_a_path_chooses_the_task(client: httpx.Client, mini: Encoder, prefix: str, task: str) -> None:
    same(client.post(f"/{prefix}/v1/embeddings", json=jina()), mini.encode(TEXTS, task=task))
    assert client.get(f"/{prefix}/v1/models").status_code == 200
    same(client.post(f"/{prefix}/embed", json={"inputs": TEXTS}), mini.encode(TEXTS, task=task))
    same(client.post(f"/{prefix}/", json={"inputs": TEXTS}), mini.encode(TEXTS, task=task))


def test_one_text_is_a_list_of_one(client: httpx.Client, mini: Encoder) -> None:
    same(client.post("/v1/embeddings", json=jina(input="Bread.")), mini.encode(["Bread."]))
    same(client.post("/v1/embeddings", json=jina(input={"text": "Bread."})), mini.encode(["Bread."]))
    same(client.post("/v1/embeddings", json=jina(input=["Bread."], late_chunking=True)), mini.encode(["Bread."]))


def test_truncate_cuts_what_is_too_long(client: httpx.Client, mini: Encoder) -> None:
    long = "yeast " * 9000
    same(client.post("/v1/embeddings", json=jina(input=[long], truncate=True)), mini.encode([long]))


def test_late_chunking_beyond_the_context_in_windows(client: httpx.Client, mini: Encoder) -> None:
    chunks = ["yeast makes bread rise " * 500] * 5
    refused = client.post("/v1/embeddings", json=jina(input=chunks, late_chunking=True))
    assert refused.status_code == 422
    assert "more than the 8192 tokens" in refused.json()["detail"]
    answer = client.post("/v1/embeddings", json=jina(input=chunks, late_chunking=True, late_chunking_windows=True))
    same(answer, mini.encode(chunks, late_chunking=True))


@pytest.mark.parametrize("name", ["embedding_type", "encoding_format", "encoding_type"])
@pytest.mark.parametrize("form", ["base64", "binary", "ubinary"])
def test_formats(client: httpx.Client, mini: Encoder, name: str, form: str) -> None:
    answer = client.post("/v1/embeddings", json=jina(**{name: form, "dimensions": 64})).json()
    vectors = mini.encode(TEXTS, dimensions=64)
    for row, vector in zip(answer["data"], vectors, strict=True):
        if form == "base64":
            np.testing.assert_allclose(np.frombuffer(base64.b64decode(row["embedding"]), dtype="<f4"), vector, atol=2e-6)
        else:
            assert row["embedding"] == np.asarray(quantize(vector, form)).tolist()
        assert "embeddings" not in row


def test_several_formats_at_once(client: httpx.Client, mini: Encoder) -> None:
    answer = client.post("/v1/embeddings", json=jina(embedding_type=["ubinary", "float"], dimensions=8)).json()
    for row, vector in zip(answer["data"], mini.encode(TEXTS, dimensions=8), strict=True):
        assert row["embedding"] == row["embeddings"]["ubinary"] == np.asarray(quantize(vector, "ubinary")).tolist()
        np.testing.assert_allclose(row["embeddings"]["float"], vector, atol=2e-6)


def test_float_values_read_back_as_the_same_float32(client: httpx.Client, mini: Encoder) -> None:
    row = client.post("/v1/embeddings", json=jina(input="Bread.")).json()["data"][0]["embedding"]
    prepared = client.post("/v1/embeddings", json=jina(input="Bread.", embedding_type="base64")).json()["data"][0]["embedding"]
    assert np.array(row, dtype=np.float32).tobytes() == base64.b64decode(prepared)


@pytest.mark.parametrize("path", ["/", "/embed"])
@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({}, {}),
        ({"truncate": True, "normalize": True, "truncation_direction": "right"}, {}),
        ({"prompt_name": "retrieval.query", "dimensions": 8}, {"task": "retrieval.query", "dimensions": 8}),
        ({"prompt_name": "query"}, {"task": "retrieval.query"}),
        ({"prompt_name": "passage"}, {"task": "retrieval.passage"}),
        ({"task": "classification", "normalize": False}, {"task": "classification", "normalize": False}),
        ({"late_chunking": True, "prompt_name": "passage"}, {"late_chunking": True, "task": "retrieval.passage"}),
    ],
    ids=str,
)
def test_text_embeddings_inference(
    client: httpx.Client, mini: Encoder, path: str, fields: dict[str, Any], options: dict[str, Any]
) -> None:
    same(client.post(path, json={"inputs": TEXTS, **fields}), mini.encode(TEXTS, **options))
    same(client.post(path, json={"inputs": TEXTS[0], **fields}), mini.encode(TEXTS[:1], **options))


@pytest.mark.parametrize(
    ("parameters", "options"),
    [
        (None, {"task": "retrieval.passage"}),
        ({"input_type": "passage", "truncate": "END", "dimension": 2}, {"task": "retrieval.passage", "dimensions": 2}),
        ({"input_type": "query", "truncate": "NONE"}, {"task": "retrieval.query"}),
        ({"task": "separation", "late_chunking": True}, {"task": "separation", "late_chunking": True}),
        ({"task": "none"}, {"task": None}),
    ],
    ids=str,
)
def test_pinecone(client: httpx.Client, mini: Encoder, parameters: dict[str, Any] | None, options: dict[str, Any]) -> None:
    body = {"model": MODEL, "inputs": [{"text": text} for text in TEXTS]} | ({"parameters": parameters} if parameters else {})
    answer = client.post("/embed", json=body)
    same(answer, mini.encode(TEXTS, **options))
    assert answer.json()["vector_type"] == "dense"
    assert {row["vector_type"] for row in answer.json()["data"]} == {"dense"}
    assert answer.json()["usage"]["total_tokens"] > 0


@pytest.mark.parametrize("path", ["/invocations", "/score"])
@pytest.mark.parametrize(
    ("body", "options"),
    [
        ({"data": [{"text": text} for text in TEXTS]}, {}),
        (
            {"data": TEXTS, "parameters": {"task": "retrieval.passage", "late_chunking": True, "dimensions": 8}},
            {"task": "retrieval.passage", "late_chunking": True, "dimensions": 8},
        ),
        (jina(task="classification"), {"task": "classification"}),
    ],
    ids=str,
)
def test_sagemaker_and_azure(
    client: httpx.Client, mini: Encoder, path: str, body: dict[str, Any], options: dict[str, Any]
) -> None:
    same(client.post(path, json=body), mini.encode(TEXTS, **options))


def test_what_is_served(client: httpx.Client, mini: Encoder) -> None:
    names = ["mini", "jinaai/jina-embeddings-v3", "jinaai/jina-embeddings-v3-hf", MODEL]
    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == names
    assert client.get(f"/v1/models/{names[1]}").json()["id"] == names[1]
    assert client.get("/v1/models/gpt").status_code == 404
    assert [model["model"] for model in client.get("/models").json()["models"]] == names
    info = client.get("/info").json()
    assert (info["model_id"], info["dimensions"], info["max_input_length"]) == ("mini", mini.dimensions, mini.max_tokens)
    assert info["tasks"] == [*map(str, mini.tasks)]


@pytest.mark.parametrize("path", ["/health", "/live", "/ready", "/ping"])
def test_health(client: httpx.Client, path: str) -> None:
    assert client.get(path).json() == {"status": "ok"}


def test_documentation_names_every_route(client: httpx.Client) -> None:
    schema = client.get("/openapi.json").json()
    assert {"/v1/embeddings", "/v1/models", "/", "/embed", "/invocations", "/score", "/models", "/info"} <= {*schema["paths"]}
    assert "late_chunking" in schema["components"]["schemas"]["EmbeddingsBody"]["properties"]
    assert client.get("/docs").status_code == 200


def test_names_default_task_and_instructions_can_be_set(mini: Encoder) -> None:
    settings: dict[str, Any] = {"served_model_names": ("ours",), "default_task": "none", "recognize_instructions": True}
    query, passage = Task.RETRIEVAL_QUERY.instruction, Task.RETRIEVAL_PASSAGE.instruction
    with serving(mini, **settings) as url, httpx.Client(base_url=url) as client:
        same(client.post("/v1/embeddings", json=jina(model="ours")), mini.encode(TEXTS, task=None))
        assert client.post("/v1/embeddings", json=jina()).status_code == 404
        for instruction, task in ((query, "retrieval.query"), (passage, "retrieval.passage")):
            texts = [instruction + text for text in TEXTS]
            same(client.post("/v1/embeddings", json=jina(model="ours", input=texts)), mini.encode(TEXTS, task=task))
            same(client.post("/embed", json={"inputs": texts}), mini.encode(TEXTS, task=task))
        mixed = [query + TEXTS[0], TEXTS[1]]
        same(client.post("/v1/embeddings", json=jina(model="ours", input=mixed)), mini.encode(mixed, task=None))


def test_instructions_are_not_recognized_by_default(client: httpx.Client, mini: Encoder) -> None:
    texts = [Task.RETRIEVAL_QUERY.instruction + text for text in TEXTS]
    same(client.post("/embed", json={"inputs": texts}), mini.encode(texts))
