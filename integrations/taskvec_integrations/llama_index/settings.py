"""The settings of an embedding as pydantic fields: how to load the model, what to encode with. Knows no nodes and no vectors.

Fields, because LlamaIndex reads nothing else: it hashes them for the cache of a pipeline, and makes an embedding anew from them
where it is unpickled.
"""

import os
from dataclasses import fields
from typing import Any

import torch
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator

from taskvec import Encoder, Task
from taskvec.integration import DEFAULT_MODEL, LoadSettings

LOAD_FIELDS = tuple(option.name for option in fields(LoadSettings) if option.name not in ("model", "token"))
"""Fields that say how to load a model, under the names that `shared_encoder` has for them. A token is a secret by itself."""

UNPICKLED_FIELDS = ("callback_manager", "embeddings_cache", "encoder", "rate_limiter", "token")
"""Fields that no pickle holds: they belong to one process, or are secret."""


class EmbeddingSettings(BaseEmbedding):
    """The fields of TaskvecEmbedding; those that say which model it is cannot be changed afterwards."""

    # Errors do not show the values, because one of them is the token.
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, validate_assignment=True)

    model_name: str = Field(
        default=DEFAULT_MODEL, frozen=True, description='A hub id, a local folder, or "mini", the small English model.'
    )
    encoder: Encoder | None = Field(
        default=None, frozen=True, exclude=True, repr=False, description="One that is loaded already, instead of a name."
    )
    revision: str | None = Field(default=None, frozen=True, description="Branch, tag or commit on the hub.")
    device: str | list[str] | None = Field(default=None, frozen=True, description="None takes CUDA, else MPS, else the CPU.")
    dtype: str | None = Field(default=None, frozen=True, description="None takes the fastest faithful one of the device.")
    max_batch_tokens: int | None = Field(default=None, frozen=True, description="Tokens of a batch on the device.")
    max_bodies: int | None = Field(default=None, frozen=True, description="How many tasks' weights are kept; None keeps all.")
    merge_adapters: bool = Field(default=True, frozen=True, description="False takes less memory and more time.")
    cache_dir: str | None = Field(default=None, frozen=True, description="Of the hub's files.")
    local_files_only: bool = Field(default=False, frozen=True, description="Never download.")
    token: SecretStr | None = Field(
        default=None, frozen=True, exclude=True, repr=False, description="Of the hub; in no pickle, dump, log or hash."
    )
    dimensions: int | None = Field(default=None, ge=1, strict=True, description="None is the model's full width.")
    late_chunking: bool = Field(
        default=False, strict=True, description="As a transformation, let the nodes of a document share its context."
    )
    document_task: str | None = Field(default="auto", description="retrieval.passage unless another is named; None: no adapter.")
    query_task: str | None = Field(default="auto", description="retrieval.query unless another is named; None: no adapter.")
    # The encoder makes its own batches of a call's texts, which BaseEmbedding's 10 would keep small.
    embed_batch_size: int = Field(default=256, gt=0, le=2048, description="Texts of a call; late chunking fills up documents.")
    embeddings_cache: Any | None = Field(
        default=None, exclude=True, description="A key-value store for vectors; ours have keys with model, task and dimensions."
    )

    @model_validator(mode="before")
    @classmethod
    def _copy_load_settings(cls, values: Any) -> Any:
        """Fill in how an encoder was loaded: workers load it again from that, and caches tell it from others by it."""
        if not isinstance(values, dict) or not isinstance(encoder := values.get("encoder"), Encoder):
            return values
        settings = encoder.load_settings
        loaded = {"model_name": str(settings.model)} | {name: getattr(settings, name) for name in LOAD_FIELDS}
        if refused := sorted(name for name in (*loaded, "token") if values.get(name, loaded.get(name)) != loaded.get(name)):
            raise ValueError(
                f"{', '.join(refused)} cannot be set beside an encoder, which is loaded: set it in Encoder.from_pretrained"
            )
        return {**values, **loaded}

    @field_validator("model_name", "device", "dtype", "cache_dir", mode="before")
    @classmethod
    def _to_name(cls, value: Any) -> Any:
        """Paths, torch's devices and its dtypes by their names, so that every field can be written as JSON."""
        if isinstance(value, tuple | list):
            return [cls._to_name(item) for item in value]
        has_name = isinstance(value, os.PathLike | torch.device | torch.dtype)
        return str(value).removeprefix("torch.") if has_name else value

    @field_validator("document_task", "query_task", mode="before")
    @classmethod
    def _to_task_name(cls, value: Any) -> Any:
        return value if value in ("auto", None) else Task(value).value
