"""An embedder with the contract of `pc.inference`, on your own hardware, and its async twin.

Knows models by name, inputs and parameters; the SDK's classes are the affair of sdk.py.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskvec import EncodeOptions, Encoder, Usage
from taskvec.integration import DEFAULT_MODEL, JINA_MODELS, run_in_thread
from taskvec_integrations.lazy_encoder import LazyEncoder
from taskvec_integrations.pinecone import responses, sdk
from taskvec_integrations.pinecone.parameters import OPERATIONS, TRUNCATE, EmbedParameters
from taskvec_integrations.task_choice import EmbedSettings, TaskChoice

if TYPE_CHECKING:
    from pinecone import EmbeddingsList, ModelInfo, ModelInfoList

Inputs = str | Sequence[str] | Sequence[Mapping[str, str]]
"""A text, texts, or texts as {"text": ...}."""

KINDS = {"type": ("embed", "rerank"), "vector_type": ("dense", "sparse")}


class _Embedder:
    """What both embedders do, in the calling thread."""

    def __init__(
        self,
        encoder: Encoder | str | Path = DEFAULT_MODEL,
        *,
        dimensions: int | None = None,
        document_task: TaskChoice = "auto",
        query_task: TaskChoice = "auto",
    ) -> None:
        self._encoder = LazyEncoder(encoder)
        self._settings = EmbedSettings(document_task, query_task, dimensions)

    def close(self) -> None:
        """Let go of an encoder that was loaded by name; it is loaded again when it is needed."""
        self._encoder.close()

    def _embed(self, model: str | Enum, inputs: Inputs, parameters: Mapping[str, Any] | None) -> "EmbeddingsList":
        name, texts, read = self._known(model), _texts(inputs), EmbedParameters.read(parameters)
        usage = Usage()
        options: EncodeOptions = {**read.options(self._settings), "usage": usage}
        vectors = self._encoder.get().encode(texts, late_chunking=read.late_chunking, **options)
        return responses.embeddings_list(name, sdk.short_floats(vectors), usage.tokens)

    def _known(self, model: str | Enum) -> str:
        """The name of our model; another one is a ValueError that says which this embedder has."""
        name = str(model.value if isinstance(model, Enum) else model)
        names = (*JINA_MODELS, self._encoder.name)
        if name.casefold() not in map(str.casefold, names):
            raise ValueError(
                f"model is {name!r}, this embedder runs {self._encoder.name}: use pc.inference for Pinecone's models"
            )
        return name

    def _get_model(self, model: str | None, model_name: str | None) -> "ModelInfo":
        if (model is None) == (model_name is None):
            raise ValueError("give model= or model_name=, one of them")
        return self._describe(self._known(model or model_name or ""))

    def _list_models(self, type: str | None, vector_type: str | None) -> "ModelInfoList":
        for kind, value in {"type": type, "vector_type": vector_type}.items():
            if value not in (None, *KINDS[kind]):
                raise ValueError(f"{kind} is {value!r}: use {' or '.join(map(repr, KINDS[kind]))}")
        ours = type in (None, "embed") and vector_type in (None, "dense")
        return responses.model_list([self._describe(self._encoder.name)] if ours else [])

    def _describe(self, name: str) -> "ModelInfo":
        encoder = self._encoder.get()
        choice = {"type": "one_of", "value_type": "string", "required": False}
        return responses.model_info(
            [
                {"parameter": "input_type", **choice, "allowed_values": [*OPERATIONS]},
                {"parameter": "truncate", **choice, "allowed_values": [*TRUNCATE], "default": "END"},
                {"parameter": "task", **choice, "allowed_values": [*map(str, encoder.tasks)]},
                {
                    "parameter": "dimension",
                    "type": "numeric_range",
                    "value_type": "integer",
                    "required": False,
                    "min": 1.0,
                    "max": float(encoder.dimensions),
                },
            ],
            model=name,
            short_description="jina-embeddings-v3 on your own hardware: task adapters, any dimension, late chunking",
            type="embed",
            vector_type="dense",
            default_dimension=self._settings.dimensions or encoder.dimensions,
            modality="text",
            max_sequence_length=encoder.max_tokens,
            provider_name="taskvec",
            supported_metrics=["cosine", "dotproduct", "euclidean"],
        )


class TaskvecInference(_Embedder):
    """`embed` as `pc.inference` has it, returning the SDK's own EmbeddingsList, without a request to Pinecone.

    encoder: an Encoder, or a model's name, which is loaded when it is first needed. It answers to the names of
    jina-embeddings-v3 and to its own. dimensions: None is the model's full width. document_task, query_task: another task than
    retrieval.passage and retrieval.query, None for the bare model.
    """

    def embed(self, model: str | Enum, inputs: Inputs, parameters: Mapping[str, Any] | None = None) -> "EmbeddingsList":
        """Embeddings of texts in order, with the tokens that were read; parameters as in EmbedParameters.

        `values` are the shortest numbers that are the encoder's vectors in float32, so they are half as long in a request.
        Raises TypeError for what is no text, with its place, and ValueError for other models and parameters.
        """
        return self._embed(model, inputs, parameters)

    def get_model(self, *, model: str | None = None, model_name: str | None = None) -> "ModelInfo":
        """What there is to know of our model, by one of its names; loads it. Another name is a ValueError."""
        return self._get_model(model, model_name)

    def list_models(self, *, type: str | None = None, vector_type: str | None = None) -> "ModelInfoList":
        """Our model, or nothing where `type` or `vector_type` is not its."""
        return self._list_models(type, vector_type)


class AsyncTaskvecInference(_Embedder):
    """TaskvecInference for `await`, like AsyncPinecone's `inference`; a thread works, and cancelling ends it."""

    async def embed(self, model: str | Enum, inputs: Inputs, parameters: Mapping[str, Any] | None = None) -> "EmbeddingsList":
        """Embeddings of texts, see TaskvecInference.embed."""
        return await run_in_thread(self._embed, model, inputs, parameters)

    async def get_model(self, *, model: str | None = None, model_name: str | None = None) -> "ModelInfo":
        """What there is to know of our model, see TaskvecInference.get_model."""
        return await run_in_thread(self._get_model, model, model_name)

    async def list_models(self, *, type: str | None = None, vector_type: str | None = None) -> "ModelInfoList":
        """Our model, see TaskvecInference.list_models."""
        return await run_in_thread(self._list_models, type, vector_type)


def _texts(inputs: Inputs) -> list[str]:
    """The texts of inputs; what is none is a TypeError with its place."""
    if isinstance(inputs, str):
        return [inputs]
    if isinstance(inputs, bytes | Mapping) or not isinstance(inputs, Sequence):
        raise TypeError(f"inputs is {type(inputs).__name__}: a str, a list of str, or a list of {{'text': str}} was expected")
    if not inputs:
        raise ValueError("inputs is empty: give at least one text")
    return [_text(item, place) for place, item in enumerate(inputs)]


def _text(item: object, place: int) -> str:
    text = item["text"] if isinstance(item, Mapping) and [*item] == ["text"] else item
    if not isinstance(text, str):
        raise TypeError(f"input {place} is {item!r}: a str, or {{'text': str}}, was expected")
    return text
