"""Parameters: to dicts and back, plain words in YAML, devices, the token that is never shown, and errors that help."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from haystack import Document, Pipeline
from haystack.utils import ComponentDevice, Secret

from haystack_integrations.components.embedders.taskvec import TaskvecDocumentEmbedder, TaskvecTextEmbedder
from haystack_integrations.components.embedders.taskvec.base_embedder import BaseEmbedder
from support.haystack_texts import QUESTION, embed_one
from taskvec import Encoder, Task, shared_encoder
from taskvec_integrations import lazy_encoder

Make = Callable[..., Any]

CHANGED: dict[str, Any] = {
    "model": "mini",
    "task": "separation",
    "dimensions": 24,
    "precision": "int8",
    "prefix": "a ",
    "suffix": " b",
    "revision": None,
    "device": ComponentDevice.from_str("cpu"),
    "dtype": "float32",
    "max_batch_tokens": 512,
    "token": Secret.from_env_var("MY_HUB_TOKEN", strict=False),
}
CHANGED_DOCUMENTS: dict[str, Any] = {
    **CHANGED,
    "late_chunking": True,
    "batch_size": 8,
    "progress_bar": False,
    "meta_fields_to_embed": ["title"],
    "embedding_separator": " | ",
}


@pytest.mark.parametrize("kind", ["text", "documents"])
def test_round_trip_of_every_parameter(kind: str) -> None:
    component: Any = {"text": TaskvecTextEmbedder, "documents": TaskvecDocumentEmbedder}[kind]
    parameters = CHANGED if kind == "text" else CHANGED_DOCUMENTS
    data = component(**parameters).to_dict()
    assert set(data["init_parameters"]) == set(parameters)
    again = component.from_dict(data)
    assert again.to_dict() == data
    for name, value in parameters.items():
        assert getattr(again, name) == value
    with pytest.raises(TypeError, match="unexpected keyword argument 'dimension'"):
        component("mini", dimension=3)


def test_tasks_and_dtypes_are_written_as_plain_words() -> None:
    pipeline = Pipeline()
    pipeline.add_component("a", TaskvecTextEmbedder("mini", task=Task.SEPARATION, dtype=torch.float32))  # type: ignore[arg-type]
    loaded = Pipeline.loads(pipeline.dumps()).get_component("a")
    assert isinstance(loaded, TaskvecTextEmbedder)
    assert (loaded.task, loaded.dtype) == ("separation", "float32")


@pytest.mark.parametrize("device", [None, "cpu", ComponentDevice.from_str("cpu"), ["cpu", "cpu"]], ids=str)
def test_devices(device: Any, make: Make, mini: Encoder) -> None:
    embedder = make("text", device=device)
    np.testing.assert_allclose(embed_one(embedder)[0], mini.encode_queries(QUESTION), atol=1e-6)
    assert TaskvecTextEmbedder.from_dict(embedder.to_dict()).device == device


def test_the_token_is_asked_for_when_the_model_is_loaded_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    received: list[dict[str, Any]] = []

    def load(model: str, **arguments: Any) -> Encoder:
        received.append(arguments)
        return shared_encoder(model, **{**arguments, "revision": None})

    monkeypatch.setattr(lazy_encoder, "shared_encoder", load)
    caplog.set_level(logging.DEBUG)
    embedder = TaskvecTextEmbedder("mini", token=Secret.from_env_var("MY_HUB_TOKEN"), revision="v1", max_batch_tokens=99)
    with pytest.raises(ValueError, match="MY_HUB_TOKEN"):
        embedder.warm_up()
    monkeypatch.setenv("MY_HUB_TOKEN", "hf_secret")
    embedder.run("a")
    assert received == [{"revision": "v1", "max_batch_tokens": 99, "token": "hf_secret"}]
    shown = [caplog.text, repr(embedder), repr(vars(embedder)), str(embedder.to_dict())]
    embedder.close()
    assert not [text for text in shown if "hf_secret" in text]
    with pytest.raises(ValueError, match="Cannot serialize token-based secret"):
        TaskvecTextEmbedder("mini", token=Secret.from_token("hf_secret")).to_dict()


MISUSE: dict[str, tuple[Callable[[Make], Any], type[Exception], str]] = {
    "str to documents": (lambda make: make("documents").run("a"), TypeError, "documents is str.*TaskvecTextEmbedder"),
    "strs to documents": (lambda make: make("documents").run(["a"]), TypeError, r"documents\[0\] is str, a Document"),
    "mixed": (lambda make: make("documents").run([Document(content="a"), 3]), TypeError, r"documents\[1\] is int"),
    "sources": (lambda make: make("documents").run([], sources="a"), TypeError, "sources is str"),
    "list to text": (lambda make: make("text").run(["a"]), TypeError, "got list, a str .*TaskvecDocumentEmbedder"),
    "Document to text": (lambda make: make("text").run(Document(content="a")), TypeError, "got Document, a str"),
    "no content": (
        lambda make: make("documents").run([Document(content="a"), Document(id="picture")]),
        ValueError,
        r"document 1 \(picture\) has no content",
    ),
    "precision": (lambda make: make("text", precision="int4"), ValueError, "unknown precision 'int4': .*float32, float16"),
    "precision of a text": (lambda make: make("text", precision="base64"), ValueError, "unknown precision 'base64'"),
    "too wide": (lambda make: make("text", dimensions=385).run("a"), ValueError, "385, but this model's vectors have 384: use 1"),
    "too narrow": (lambda make: make("documents", dimensions=0).run([]), ValueError, "dimensions is 0"),
    "not whole bytes": (
        lambda make: make("documents", dimensions=12, precision="binary").run([Document(content="a")]),
        ValueError,
        "12 is not a multiple of 8",
    ),
    "task": (lambda make: make("text", task="query"), ValueError, "unknown task 'query': use one of retrieval.query"),
    "flag": (lambda make: make("documents", late_chunking="yes"), TypeError, "late_chunking is 'yes': True or False"),
    "fields": (lambda make: make("documents", meta_fields_to_embed="title"), TypeError, "'title': a list of names"),
    "prefix": (lambda make: make("text", prefix=None), TypeError, "prefix is None: a str"),
    "model": (lambda make: TaskvecTextEmbedder(3), TypeError, "model is 3: a hub id like jinaai"),  # type: ignore[arg-type]
    "token": (lambda make: TaskvecTextEmbedder(token="hf_x"), TypeError, "token is not a Secret: use"),  # type: ignore[arg-type]
    "device": (lambda make: make("text", device="tpu9").run("a"), ValueError, "device 'tpu9' is not one torch knows"),
}


@pytest.mark.parametrize(("misuse", "error", "message"), MISUSE.values(), ids=MISUSE)
def test_misuse_is_explained(misuse: Callable[[Make], Any], error: type[Exception], message: str, make: Make) -> None:
    with pytest.raises(error, match=message):
        misuse(make)


def test_both_have_the_same_base() -> None:
    assert issubclass(TaskvecTextEmbedder, BaseEmbedder)
    assert issubclass(TaskvecDocumentEmbedder, BaseEmbedder)
