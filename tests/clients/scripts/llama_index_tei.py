"""llama-index-embeddings-text-embeddings-inference: instructions in front of texts, which the server recognizes."""

import asyncio
from typing import Any

from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference
from talk import Asked, main

QUERY = "Represent the query for retrieving evidence documents:"
PASSAGE = "Represent the document for retrieval:"


def embedding(asked: Asked, **options: Any) -> TextEmbeddingsInference:
    return TextEmbeddingsInference(model_name=asked.model, base_url=asked.url, auth_token=asked.key, **options)


def vectors(asked: Asked) -> dict[str, Any]:
    retrieval = embedding(asked, query_instruction=QUERY, text_instruction=PASSAGE)
    plain = embedding(asked, query_instruction="", text_instruction="")
    return {
        "default": plain.get_text_embedding_batch(asked.texts),
        "query": [retrieval.get_query_embedding(text) for text in asked.texts],
        "query/async": [asyncio.run(retrieval.aget_query_embedding(text)) for text in asked.texts],
        "passage": retrieval.get_text_embedding_batch(asked.texts),
        "passage/async": asyncio.run(retrieval.aget_text_embedding_batch(asked.texts)),
    }


def ask(asked: Asked) -> Any:
    return embedding(asked).get_query_embedding(asked.texts[0])


main("llama-index-embeddings-text-embeddings-inference", vectors, ask)
