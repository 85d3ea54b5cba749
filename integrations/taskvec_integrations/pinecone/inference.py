"""An embedder with the contract of `pc.inference`, on your own hardware, and its async twin.

Knows the names of models, inputs and parameters; responses.py makes the SDK's objects.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskvec import EncodeOptions, Encoder, Usage
from taskvec.integration import DEFAULT_MODEL, JINA_MODELS, run_in_thread
from taskvec_integrations.lazy_encoder import LazyEncoder
from taskvec_integrations.pinecone import responses
from taskvec_integrations.pinecone.parameters import OPERATIONS, TRUNCATE, EmbedParameters
from taskvec_integrations.pinecone.records import short_floats
from taskvec_integrations.task_choice import EmbedSettings, TaskChoice

if TYPE_CHECKING:
    from pinecone import EmbeddingsList, ModelInfo, ModelInfoList

Inputs = str | Sequence[str] | Sequence[Mapping[str, str]]
"""A text, texts, or texts as {"text": ...}."""

MODEL_KINDS = {"type": ("embed", "rerank"), "vector_type": ("dense", "sparse")}


class _InferenceBase:
    """What both do, in the calling thread."""

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
        """Release an encoder that was loaded by name; the next call loads it again."""
        self._encoder.close()

    def _embed(self, model: str | Enum, inputs: Inputs, parameters: Mapping[str, Any] | None) -> "EmbeddingsList":
        name, texts, read = self._check_model(model), _read_inputs(inputs), EmbedParameters.read(parameters)
        usage = Usage()
        options: EncodeOptions = {**read.encode_options(self._settings), "usage": usage}
        vectors = self._encoder.get().encode(texts, late_chunking=read.late_chunking, **options)
        return responses.embeddings_list(name, short_floats(vectors), usage.tokens)

    def _check_model(self, model: str | Enum) -> str:
        """The name, if it is one of our model's; ValueError for another model's."""
        name = str(model.value if isinstance(model, Enum) else model)
        names = (*JINA_MODELS, self._encoder.name)
        if name.casefold() not in map(str.casefold, names):
            raise ValueError(
                f"model is {name!r}, this embedder runs {self._encoder.name}: use pc.inference for Pinecone's models"
            )
        return name

    def _get_model(self, model: str | None, model_name: str | None) -> "ModelInfo":
        if (model is None) == (model_name is None):
            raise ValueError("pass either model= or model_name=")
        return self._describe(self._check_model(model or model_name or ""))

    def _list_models(self, type: str | None, vector_type: str | None) -> "ModelInfoList":
        for kind, value in {"type": type, "vector_type": vector_type}.items():
            if value not in (None, *MODEL_KINDS[kind]):
                raise ValueError(f"{kind} is {value!r}: use {' or '.join(map(repr, MODEL_KINDS[kind]))}")
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


class TaskvecInference(_InferenceBase):
    """`embed` with the contract of `pc.inference`, without a request to Pinecone.

    The model answers to its own name and to those of jina-embeddings-v3.

    Args:
        encoder: The model; this and the other arguments mean what they mean in `Store`.
        dimensions: The length of the vectors, unless the parameters of a call say another.
        document_task: The task of passages.
        query_task: The task of queries.
    """

    def embed(self, model: str | Enum, inputs: Inputs, parameters: Mapping[str, Any] | None = None) -> "EmbeddingsList":
        """Embed texts.

        Args:
            model: A name of the model.
            inputs: A text, a list of texts, or a list of {"text": ...}.
            parameters: See `EmbedParameters`.

        Returns:
            The SDK's own EmbeddingsList: the embeddings in the order of the texts, and the number of tokens that were read. The
            `values` are the shortest decimal numbers that read back as the same float32, about half as long in a request.

        Raises:
            TypeError: An input is not a text; the message has its place.
            ValueError: There is no such model or parameter, `inputs` is empty, or a text is too long to be left whole.
        """
        return self._embed(model, inputs, parameters)

    def get_model(self, *, model: str | None = None, model_name: str | None = None) -> "ModelInfo":
        """Describe the model by one of its names, and load it to do so; ValueError for another name."""
        return self._get_model(model, model_name)

    def list_models(self, *, type: str | None = None, vector_type: str | None = None) -> "ModelInfoList":
        """List the model, or nothing where `type` or `vector_type` is another than its own, "embed" and "dense"."""
        return self._list_models(type, vector_type)


class AsyncTaskvecInference(_InferenceBase):
    """TaskvecInference for `await`, like AsyncPinecone's `inference`; a thread embeds, and cancelling a call ends it."""

    async def embed(self, model: str | Enum, inputs: Inputs, parameters: Mapping[str, Any] | None = None) -> "EmbeddingsList":
        """Embed texts, see TaskvecInference.embed."""
        return await run_in_thread(self._embed, model, inputs, parameters)

    async def get_model(self, *, model: str | None = None, model_name: str | None = None) -> "ModelInfo":
        """Describe the model, see TaskvecInference.get_model."""
        return await run_in_thread(self._get_model, model, model_name)

    async def list_models(self, *, type: str | None = None, vector_type: str | None = None) -> "ModelInfoList":
        """List the model, see TaskvecInference.list_models."""
        return await run_in_thread(self._list_models, type, vector_type)


def _read_inputs(inputs: Inputs) -> list[str]:
    """The texts of inputs; TypeError with the place of an input that is not a text."""
    if isinstance(inputs, str):
        return [inputs]
    if isinstance(inputs, bytes | Mapping) or not isinstance(inputs, Sequence):
        raise TypeError(f"inputs is {type(inputs).__name__}: pass a str, a list of str, or a list of {{'text': str}}")
    if not inputs:
        raise ValueError("inputs is empty: give at least one text")
    return [_read_input(item, place) for place, item in enumerate(inputs)]


def _read_input(item: object, place: int) -> str:
    text = item["text"] if isinstance(item, Mapping) and [*item] == ["text"] else item
    if not isinstance(text, str):
        raise TypeError(f"input {place} is {item!r}: pass a str, or {{'text': str}}")
    return text
