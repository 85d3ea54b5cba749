"""openai: base64 by default, what OpenAI does not know in extra_body, and model names and paths that choose the task."""

import asyncio
from typing import Any

from openai import AsyncOpenAI, OpenAI
from talk import Asked, main


def vectors(asked: Asked) -> dict[str, Any]:
    client = OpenAI(base_url=f"{asked.url}/v1", api_key=asked.key)
    of_passages = OpenAI(base_url=f"{asked.url}/passage/v1", api_key=asked.key)

    def embed(
        client: OpenAI = client, model: str = asked.model, texts: list[str] = asked.texts, **options: Any
    ) -> list[list[float]]:
        return [row.embedding for row in client.embeddings.create(model=model, input=texts, **options).data]

    async def embed_async() -> list[list[float]]:
        async with AsyncOpenAI(base_url=f"{asked.url}/v1", api_key=asked.key) as client:
            answer = await client.embeddings.create(model=asked.model, input=asked.texts, extra_body={"task": "retrieval.query"})
        return [row.embedding for row in answer.data]

    query, passage = {"task": "retrieval.query"}, {"task": "retrieval.passage"}
    usage = client.embeddings.create(model=asked.model, input=asked.texts, extra_body=query).usage
    return {
        "default": embed(),
        "query": embed(extra_body=query),
        "query/async": asyncio.run(embed_async()),
        "query/by name": embed(model=f"{asked.model}:query"),
        "query/in numbers": embed(extra_body=query, encoding_format="float"),
        "passage": embed(extra_body=passage),
        "passage/by path": embed(of_passages),
        "query short": embed(extra_body=query, dimensions=asked.dimensions),
        "passage late": embed(texts=asked.chunks, extra_body={**passage, "late_chunking": True}),
        "query of one": [client.embeddings.create(model=asked.model, input=asked.texts[0], extra_body=query).data[0].embedding],
        "query tokens": usage.total_tokens,
        "models": [model.id for model in client.models.list()],
    }


def ask(asked: Asked) -> Any:
    client = OpenAI(base_url=f"{asked.url}/v1", api_key=asked.key)
    return client.embeddings.create(model=asked.model, input=asked.texts[0], dimensions=asked.dimensions)


main("openai", vectors, ask)
