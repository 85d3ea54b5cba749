"""The contract of `pc.inference`: what it is given, what it returns, and whose classes those are."""

import asyncio
import pickle
from typing import Any

import numpy as np
import pinecone as sdk
import pytest

from support.pinecone.indexes import QUESTION, TEXTS, while_loop_is_free
from taskvec import Encoder, Usage
from taskvec_integrations.pinecone import AsyncTaskvecInference, TaskvecInference

MODEL = "jina-embeddings-v3"


@pytest.fixture
def inference(mini: Encoder) -> TaskvecInference:
    return TaskvecInference(mini)


def vectors(answer: Any) -> Any:
    return np.array([embedding.values for embedding in answer], np.float32)


EXPECTED: list[tuple[Any, dict[str, Any]]] = [
    (None, {"task": "retrieval.passage"}),
    ({}, {"task": "retrieval.passage"}),
    ({"input_type": "passage", "truncate": "END"}, {"task": "retrieval.passage"}),
    ({"input_type": "query"}, {"task": "retrieval.query"}),
    ({"input_type": "query", "dimension": 64}, {"task": "retrieval.query", "dimensions": 64}),
    ({"task": "classification"}, {"task": "classification"}),
    ({"task": None}, {"task": None}),
    ({"late_chunking": True}, {"task": "retrieval.passage", "late_chunking": True}),
]


@pytest.mark.parametrize(("parameters", "options"), EXPECTED, ids=str)
def test_parameters_choose_what_the_encoder_does(
    inference: TaskvecInference, mini: Encoder, parameters: Any, options: dict[str, Any]
) -> None:
    usage = Usage()
    expected = mini.encode(TEXTS, usage=usage, **options)
    answer = inference.embed(model=MODEL, inputs=TEXTS, parameters=parameters)
    np.testing.assert_array_equal(vectors(answer), expected)
    assert isinstance(answer, sdk.EmbeddingsList)
    assert (answer.model, answer.vector_type, len(answer)) == (MODEL, "dense", 4)
    assert answer.usage.total_tokens == usage.tokens
    assert answer[0]["values"] == answer.data[0].values
    twin = asyncio.run(AsyncTaskvecInference(mini).embed(MODEL, TEXTS, parameters))
    np.testing.assert_array_equal(vectors(twin), expected)


@pytest.mark.parametrize("inputs", [QUESTION, [QUESTION], [{"text": QUESTION}]], ids=["str", "list", "mappings"])
def test_inputs_come_in_three_shapes(inference: TaskvecInference, mini: Encoder, inputs: Any) -> None:
    np.testing.assert_array_equal(vectors(inference.embed(MODEL, inputs)), mini.encode_documents([QUESTION]))


def test_values_are_short_and_the_same_numbers_in_float32(inference: TaskvecInference, mini: Encoder) -> None:
    [embedding] = inference.embed(MODEL, QUESTION)
    numbers = embedding["values"]
    assert all(type(value) is float for value in numbers)
    assert len(str(numbers)) < 0.65 * len(str(mini.encode_documents(QUESTION).tolist()))


def test_settings_are_the_defaults(mini: Encoder) -> None:
    own = TaskvecInference(mini, dimensions=32, document_task="separation", query_task=None)
    np.testing.assert_array_equal(vectors(own.embed(MODEL, TEXTS)), mini.encode(TEXTS, task="separation", dimensions=32))
    answer = own.embed(MODEL, TEXTS, {"input_type": "query", "dimension": 16})
    np.testing.assert_array_equal(vectors(answer), mini.encode(TEXTS, task=None, dimensions=16))


@pytest.mark.parametrize("name", [MODEL, "jinaai/jina-embeddings-v3", "JINAAI/jina-embeddings-v3-hf", "mini"])
def test_it_answers_to_its_names(inference: TaskvecInference, name: str) -> None:
    assert inference.embed(name, QUESTION).model == name
    info = inference.get_model(model=name)
    assert isinstance(info, sdk.ModelInfo)
    assert (info.model, info.default_dimension, info.max_sequence_length) == (name, 384, 8192)
    assert info["supported_metrics"] == ["cosine", "dotproduct", "euclidean"]
    assert {parameter["parameter"] for parameter in info["supported_parameters"]} == {
        "input_type",
        "truncate",
        "task",
        "dimension",
    }
    assert asyncio.run(AsyncTaskvecInference(inference._encoder.get()).get_model(model_name=name)).to_dict() == info.to_dict()


def test_it_lists_its_model(inference: TaskvecInference, mini: Encoder) -> None:
    assert isinstance(inference.list_models(), sdk.ModelInfoList)
    assert [info.model for info in inference.list_models(type="embed", vector_type="dense")] == ["mini"]
    assert [len(inference.list_models(**other)) for other in ({"type": "rerank"}, {"vector_type": "sparse"})] == [0, 0]
    assert len(asyncio.run(AsyncTaskvecInference(mini).list_models())) == 1


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"model": "llama-text-embed-v2"}, ValueError, "model is 'llama-text-embed-v2', this embedder runs mini: use pc.inference"),
    ({"inputs": []}, ValueError, "inputs is empty: give at least one text"),
    ({"inputs": 3}, TypeError, "inputs is int: pass a str, a list of str"),
    ({"inputs": {"text": "a"}}, TypeError, "inputs is dict: pass a str, a list of str"),
    ({"inputs": ["a", 3]}, TypeError, r"input 1 is 3: pass a str, or {'text': str}"),
    ({"inputs": [{"text": "a", "title": "b"}]}, TypeError, "input 0 is {'text': 'a', 'title': 'b'}: pass a str, or"),
    ({"parameters": {"input_typ": "query"}}, ValueError, "unknown parameter 'input_typ': the parameters are input_type, trunc"),
    ({"parameters": {"input_type": "document"}}, ValueError, "input_type is 'document': use 'passage' or 'query'"),
    ({"parameters": {"truncate": "START"}}, ValueError, "truncate is 'START': use 'END' or 'NONE'"),
    ({"parameters": {"dimension": 385}}, ValueError, "dimensions is 385, but this model's vectors have 384: use 1 to 384"),
    ({"parameters": {"task": "search"}}, ValueError, "unknown task 'search': use one of retrieval.query"),
    ({"parameters": {"task": "separation", "input_type": "query"}}, ValueError, "both choose the adapter: give one of them"),
    ({"parameters": {"late_chunking": 1}}, TypeError, "late_chunking is 1: True or False"),
    (
        {"parameters": {"late_chunking": True, "input_type": "query"}},
        ValueError,
        "but input_type is 'query': leave one of them out",
    ),
]


@pytest.mark.parametrize(("given", "kind", "message"), WRONG, ids=lambda value: str(value)[:50])
def test_mistakes_are_named(inference: TaskvecInference, given: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        inference.embed(**{"model": MODEL, "inputs": "a", **given})


def test_a_text_too_long_is_cut_or_refused(short: Encoder) -> None:
    long = TaskvecInference(short)
    assert len(long.embed(MODEL, "word " * 200)) == 1
    with pytest.raises(ValueError, match=r"text 0 has \d+ tokens"):
        long.embed(MODEL, "word " * 200, {"truncate": "NONE"})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda inference: inference.list_models(type="dense"), "type is 'dense': use 'embed' or 'rerank'"),
        (lambda inference: inference.get_model(), "pass either model= or model_name="),
        (lambda inference: inference.get_model(model="other"), "model is 'other', this embedder runs mini"),
        (lambda _: TaskvecInference("mini", query_task="search"), "search"),
    ],
)
def test_so_are_those_about_models(inference: TaskvecInference, call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(inference)


def test_it_loads_late_and_pickles_without_weights() -> None:
    lazy = TaskvecInference("mini")
    assert len(pickle.dumps(lazy)) < 1000
    again = pickle.loads(pickle.dumps(lazy))
    assert len(again.embed("mini", QUESTION)[0]["values"]) == 384
    again.close()


def test_the_loop_is_free_while_a_thread_embeds(mini: Encoder) -> None:
    embeddings = asyncio.run(while_loop_is_free(mini, AsyncTaskvecInference(mini).embed(MODEL, TEXTS)))
    assert len(embeddings) == 4
