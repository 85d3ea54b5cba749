"""jina-haystack: base_url is the whole address."""

import asyncio
from typing import Any

from haystack import Document
from haystack.utils import Secret
from haystack_integrations.components.embedders.jina import JinaDocumentEmbedder, JinaTextEmbedder
from talk import Asked, main


def vectors(asked: Asked) -> dict[str, Any]:
    common = {"api_key": Secret.from_token(asked.key), "model": asked.model, "base_url": f"{asked.url}/v1/embeddings"}
    query = JinaTextEmbedder(**common, task="retrieval.query")
    short = JinaTextEmbedder(**common, task="retrieval.query", dimensions=asked.dimensions)
    documents = {"progress_bar": False, **common, "task": "retrieval.passage"}

    def embed(embedder: JinaDocumentEmbedder, texts: list[str]) -> Any:
        return embedder.run([Document(content=text) for text in texts])

    passage = embed(JinaDocumentEmbedder(**documents), asked.texts)
    late = embed(JinaDocumentEmbedder(**documents, late_chunking=True), asked.chunks)
    return {
        "query": [query.run(text)["embedding"] for text in asked.texts],
        "query/async": [asyncio.run(query.run_async(text))["embedding"] for text in asked.texts],
        "query short": [short.run(text)["embedding"] for text in asked.texts],
        "default": [JinaTextEmbedder(**common).run(text)["embedding"] for text in asked.texts],
        "passage": [document.embedding for document in passage["documents"]],
        "passage tokens": passage["meta"]["usage"]["total_tokens"],
        "passage late": [document.embedding for document in late["documents"]],
        "passage/in parts": [
            document.embedding for document in embed(JinaDocumentEmbedder(**documents, batch_size=2), asked.texts)["documents"]
        ],
    }


def ask(asked: Asked) -> Any:
    return JinaTextEmbedder(
        api_key=Secret.from_token(asked.key),
        model=asked.model,
        base_url=f"{asked.url}/v1/embeddings",
        task="retrieval.query",
        dimensions=asked.dimensions,
    ).run(asked.texts[0])


main("jina-haystack", vectors, ask)
