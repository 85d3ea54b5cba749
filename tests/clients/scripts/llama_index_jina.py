"""llama-index-embeddings-jinaai: its address is private, and one object has one task."""

import asyncio
from typing import Any

from llama_index.embeddings.jinaai import JinaEmbedding
from talk import Asked, main


def embedding(asked: Asked, **options: Any) -> JinaEmbedding:
    made = JinaEmbedding(model=asked.model, api_key=asked.key, **options)
    made._api.api_url = f"{asked.url}/v1/embeddings"
    return made


def vectors(asked: Asked) -> dict[str, Any]:
    query = embedding(asked, task="retrieval.query")
    passage = embedding(asked, task="retrieval.passage")
    bits = {form: embedding(asked, task="retrieval.passage", encoding_documents=form) for form in ("binary", "ubinary")}
    return {
        "default": embedding(asked).get_text_embedding_batch(asked.texts),
        "query": [query.get_query_embedding(text) for text in asked.texts],
        "query/async": [asyncio.run(query.aget_query_embedding(text)) for text in asked.texts],
        "query short": [
            embedding(asked, task="retrieval.query", dimensions=asked.dimensions).get_query_embedding(text)
            for text in asked.texts
        ],
        "passage": passage.get_text_embedding_batch(asked.texts),
        "passage/async": asyncio.run(passage.aget_text_embedding_batch(asked.texts)),
        "passage late": embedding(asked, task="retrieval.passage", late_chunking=True).get_text_embedding_batch(asked.chunks),
        "passage signs": bits["binary"].get_text_embedding_batch(asked.texts),
        "passage signs/unsigned": bits["ubinary"].get_text_embedding_batch(asked.texts),
    }


def ask(asked: Asked) -> Any:
    return embedding(asked, task="retrieval.query", dimensions=asked.dimensions).get_query_embedding(asked.texts[0])


main("llama-index-embeddings-jinaai", vectors, ask)
