"""huggingface_hub's client of Text Embeddings Inference: by base_url, or by an address for a model."""

import asyncio
from typing import Any

from huggingface_hub import AsyncInferenceClient, InferenceClient
from talk import Asked, main


def vectors(asked: Asked) -> dict[str, Any]:
    client = InferenceClient(base_url=asked.url, token=asked.key)
    by_route = InferenceClient(model=f"{asked.url}/embed", token=asked.key)

    async def embed_async() -> Any:
        async with AsyncInferenceClient(base_url=asked.url, token=asked.key) as client:
            return await client.feature_extraction(asked.texts, prompt_name="retrieval.query")

    def embed(client: InferenceClient = client, **options: Any) -> Any:
        return client.feature_extraction(asked.texts, **options)

    return {
        "default": embed(),
        "query": embed(prompt_name="retrieval.query", normalize=True, truncate=True, truncation_direction="right"),
        "query/async": asyncio.run(embed_async()),
        "query/by route": embed(by_route, prompt_name="query"),
        "query short": embed(prompt_name="query", dimensions=asked.dimensions),
        "query not normalised": embed(prompt_name="query", normalize=False),
        "query of one": client.feature_extraction(asked.texts[0], prompt_name="query"),
        "passage": embed(prompt_name="passage"),
    }


def ask(asked: Asked) -> Any:
    client = InferenceClient(base_url=asked.url, token=asked.key)
    return client.feature_extraction(asked.texts[0], dimensions=asked.dimensions)


main("huggingface_hub", vectors, ask)
