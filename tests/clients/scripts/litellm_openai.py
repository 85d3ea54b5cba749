"""litellm as a client of anything that speaks OpenAI's dialect."""

from typing import Any

import litellm
from talk import Asked, main


def vectors(asked: Asked) -> dict[str, Any]:
    common = {"api_base": f"{asked.url}/v1", "api_key": asked.key}

    def embed(texts: list[str] = asked.texts, name: str = asked.model, **options: Any) -> list[list[float]]:
        return [row["embedding"] for row in litellm.embedding(model=f"openai/{name}", input=texts, **common, **options).data]

    return {
        "default": embed(),
        "query": embed(extra_body={"task": "retrieval.query"}),
        "query/by name": embed(name=f"{asked.model}:query"),
        "passage/by name": embed(name=f"{asked.model}:passage"),
        "passage late": embed(asked.chunks, extra_body={"task": "retrieval.passage", "late_chunking": True}),
        "query short": embed(
            extra_body={"task": "retrieval.query"}, dimensions=asked.dimensions, allowed_openai_params=["dimensions"]
        ),
    }


def ask(asked: Asked) -> Any:
    return litellm.embedding(
        model=f"openai/{asked.model}",
        api_base=f"{asked.url}/v1",
        api_key=asked.key,
        input=asked.texts[:1],
        dimensions=asked.dimensions,
        allowed_openai_params=["dimensions"],
    )


main("litellm", vectors, ask)
