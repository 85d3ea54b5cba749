"""litellm as a client of Jina's API."""

import asyncio
from typing import Any

import litellm
from talk import Asked, main


def vectors(asked: Asked) -> dict[str, Any]:
    common = {"model": f"jina_ai/{asked.model}", "api_base": f"{asked.url}/v1", "api_key": asked.key}

    def embed(texts: list[str] = asked.texts, **options: Any) -> list[list[float]]:
        return [row["embedding"] for row in litellm.embedding(**common, input=texts, **options).data]

    async def embed_async() -> list[list[float]]:
        answer = await litellm.aembedding(**common, input=asked.texts, task="retrieval.query")
        return [row["embedding"] for row in answer.data]

    return {
        "default": embed(),
        "query": embed(task="retrieval.query"),
        "query/async": asyncio.run(embed_async()),
        "query short": embed(task="retrieval.query", dimensions=asked.dimensions),
        "passage": embed(task="retrieval.passage"),
        "passage late": embed(asked.chunks, task="retrieval.passage", late_chunking=True),
        "query tokens": litellm.embedding(**common, input=asked.texts, task="retrieval.query").usage.total_tokens,
    }


def ask(asked: Asked) -> Any:
    return litellm.embedding(
        model=f"jina_ai/{asked.model}",
        api_base=f"{asked.url}/v1",
        api_key=asked.key,
        input=asked.texts[:1],
        task="retrieval.query",
        dimensions=asked.dimensions,
    )


main("litellm", vectors, ask)
