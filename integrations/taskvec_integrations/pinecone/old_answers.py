"""answers.py for versions 7 and 8 of the SDK, whose classes wrap others that are generated from Pinecone's OpenAPI documents."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

pinecone: Any = import_module("pinecone")
generated: Any = import_module("pinecone.core.openapi.inference.models")
stored: Any = import_module("pinecone.core.openapi.db_data.models")

UNCHECKED = {"_check_type": False}  # it looks at every number of every vector


def embeddings_list(model: str, vectors: Sequence[list[float]], tokens: int) -> Any:
    """What `pc.inference.embed` returns."""
    data = [generated.DenseEmbedding(values=vector, vector_type="dense", **UNCHECKED) for vector in vectors]
    usage = generated.EmbeddingsListUsage(total_tokens=tokens)
    return pinecone.EmbeddingsList(
        generated.EmbeddingsList(model=model, vector_type="dense", data=data, usage=usage, **UNCHECKED)
    )


def model_info(parameters: Sequence[Mapping[str, Any]], **told: Any) -> Any:
    """What `pc.inference.get_model` returns."""
    supported = [generated.ModelInfoSupportedParameter(**parameter, **UNCHECKED) for parameter in parameters]
    names = told.pop("supported_metrics")
    metrics = [generated.ModelInfoMetric(value=name) for name in names] if hasattr(generated, "ModelInfoMetric") else names
    told["supported_metrics"] = generated.ModelInfoSupportedMetrics(value=metrics, **UNCHECKED)
    return pinecone.ModelInfo(generated.ModelInfo(supported_parameters=supported, **told, **UNCHECKED))


def model_list(models: Sequence[Any]) -> Any:
    """What `pc.inference.list_models` returns."""
    return pinecone.ModelInfoList(generated.ModelInfoList(models=[model._model_info for model in models], **UNCHECKED))


def upserted(count: int) -> Any:
    """What `index.upsert_records` returns in version 8, and nothing in 7."""
    return stored.UpsertResponse(upserted_count=count)
