"""llama-index-embeddings-jinaai once more, for what its other half says of errors."""

import asyncio
from typing import Any

from llama_index.embeddings.jinaai import JinaEmbedding
from talk import Asked, main


def embedding(asked: Asked, **options: Any) -> JinaEmbedding:
    made = JinaEmbedding(model=asked.model, api_key=asked.key, **options)
    made._api.api_url = f"{asked.url}/v1/embeddings"
    return made


def vectors(asked: Asked) -> dict[str, Any]:
    query, passage = (embedding(asked, task=task) for task in ("retrieval.query", "retrieval.passage"))
    return {
        "query": [asyncio.run(query.aget_query_embedding(text)) for text in asked.texts],
        "passage": asyncio.run(passage.aget_text_embedding_batch(asked.texts)),
    }


def ask(asked: Asked) -> Any:
    return asyncio.run(embedding(asked, task="retrieval.query", dimensions=asked.dimensions).aget_query_embedding(asked.texts[0]))


main("llama-index-embeddings-jinaai", vectors, ask)
