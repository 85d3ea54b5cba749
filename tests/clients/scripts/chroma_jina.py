"""chromadb's function for Jina's API, alone and in a collection; its address is private."""

import os
from typing import Any

import chromadb
from chromadb.utils.embedding_functions import JinaEmbeddingFunction
from talk import Asked, main


def function(asked: Asked, **options: Any) -> JinaEmbeddingFunction:
    os.environ["CHROMA_JINA_API_KEY"] = asked.key
    made = JinaEmbeddingFunction(model_name=asked.model, **options)
    made._api_url = f"{asked.url}/v1/embeddings"
    return made


def vectors(asked: Asked) -> dict[str, Any]:
    both = function(asked, task="retrieval.passage", query_config={"task": "retrieval.query"})
    short = function(asked, task="retrieval.query", dimensions=asked.dimensions)
    late = function(asked, task="retrieval.passage", late_chunking=True, truncate=False, normalized=True, embedding_type="float")
    collection = chromadb.EphemeralClient().create_collection("texts", embedding_function=both)
    ids = [str(number) for number in range(len(asked.texts))]
    collection.add(ids=ids, documents=asked.texts)
    return {
        "default": function(asked)(asked.texts),
        "query": both.embed_query(asked.texts),
        "query short": short(asked.texts),
        "passage": both(asked.texts),
        "passage late": late(asked.chunks),
        "passage/in a collection": collection.get(ids=ids, include=["embeddings"])["embeddings"],
    }


def ask(asked: Asked) -> Any:
    return function(asked, task="retrieval.query", dimensions=asked.dimensions)(asked.texts[:1])


main("chromadb", vectors, ask)
