"""pymilvus.model: its address is a constant of the module."""

from typing import Any

from pymilvus.model.dense import JinaEmbeddingFunction, jinaai
from talk import Asked, main


def function(asked: Asked, **options: Any) -> JinaEmbeddingFunction:
    jinaai.API_URL = f"{asked.url}/v1/embeddings"
    return JinaEmbeddingFunction(asked.model, asked.key, **options)


def vectors(asked: Asked) -> dict[str, Any]:
    plain = function(asked)
    short = function(asked, dimensions=asked.dimensions)
    return {
        "query": plain.encode_queries(asked.texts),
        "query short": short.encode_queries(asked.texts),
        "passage": plain.encode_documents(asked.texts),
        "passage/by default": plain(asked.texts),
        "passage late": function(asked, late_chunking=True).encode_documents(asked.chunks),
        "width": function(asked).dim,
    }


def ask(asked: Asked) -> Any:
    return function(asked, dimensions=asked.dimensions).encode_queries(asked.texts[:1])


main("pymilvus.model", vectors, ask)
