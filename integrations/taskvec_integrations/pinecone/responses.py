"""Responses made here, as objects of the SDK's own classes."""

from collections.abc import Mapping, Sequence
from typing import Any

from pinecone import DenseEmbedding, EmbeddingsList, ModelInfo, ModelInfoList, UpsertRecordsResponse
from pinecone.models.inference import EmbedUsage, ModelInfoSupportedParameter


def embeddings_list(model: str, vectors: Sequence[list[float]], tokens: int) -> EmbeddingsList:
    """What `pc.inference.embed` returns: dense embeddings, and the number of tokens that were read."""
    data = [DenseEmbedding(values=vector) for vector in vectors]
    return EmbeddingsList(model=model, vector_type="dense", data=data, usage=EmbedUsage(total_tokens=tokens))


def model_info(parameters: Sequence[Mapping[str, Any]], **fields: Any) -> ModelInfo:
    """What `pc.inference.get_model` returns."""
    return ModelInfo(supported_parameters=[ModelInfoSupportedParameter(**parameter) for parameter in parameters], **fields)


def model_list(models: Sequence[ModelInfo]) -> ModelInfoList:
    """What `pc.inference.list_models` returns."""
    return ModelInfoList([*models])


def upsert_response(count: int) -> UpsertRecordsResponse:
    """What `index.upsert_records` returns."""
    return UpsertRecordsResponse(record_count=count)
