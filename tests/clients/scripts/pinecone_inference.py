"""Pinecone's inference API, with the server for its host."""

import asyncio
from typing import Any

from pinecone import AsyncPinecone, Pinecone
from talk import Asked, main


def vectors(asked: Asked) -> dict[str, Any]:
    client = Pinecone(api_key=asked.key, host=asked.url)

    def embed(texts: list[str] = asked.texts, **parameters: Any) -> list[Any]:
        answer = client.inference.embed(model=asked.model, inputs=texts, parameters=parameters or None)
        return [row.values for row in answer]

    async def embed_async() -> list[Any]:
        async with AsyncPinecone(api_key=asked.key, host=asked.url) as client:
            answer = await client.inference.embed(model=asked.model, inputs=asked.texts, parameters={"input_type": "query"})
        return [row.values for row in answer]

    tokens = client.inference.embed(model=asked.model, inputs=asked.texts, parameters={"input_type": "query"}).usage.total_tokens
    return {
        "passage/by default": embed(),
        "query": embed(input_type="query", truncate="END"),
        "query/async": asyncio.run(embed_async()),
        "query short": embed(input_type="query", dimension=asked.dimensions),
        "query tokens": tokens,
        "passage": embed(input_type="passage"),
        "passage late": embed(asked.chunks, input_type="passage", late_chunking=True),
        "models": [model.model for model in client.inference.list_models()],
        "width": client.inference.get_model(model=asked.model).default_dimension,
    }


def ask(asked: Asked) -> Any:
    client = Pinecone(api_key=asked.key, host=asked.url)
    return client.inference.embed(model=asked.model, inputs=asked.texts[:1], parameters={"dimension": asked.dimensions})


main("pinecone", vectors, ask)
