"""The response bodies as /docs shows them. The server never makes objects of these classes."""

from typing import Any, Literal

from pydantic import BaseModel

DESCRIPTION = """\
jina-embeddings-v3 on your own hardware, with `task`, `dimensions` and `late_chunking` for each request.

Clients of Jina's API, OpenAI, Text Embeddings Inference, Pinecone, SageMaker and Azure ML work unchanged. Those that
cannot send a task ask for the model `jina-embeddings-v3:query` or `:passage`, or have
`/query/v1` or `/passage/v1` for their base URL."""


class EmbeddingItem(BaseModel):
    """One vector: numbers, or base64 of little-endian float32; `embeddings` has every format where the request named several."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str
    embeddings: dict[str, Any] | None = None


class UsageCount(BaseModel):
    """Tokens read, instructions included."""

    total_tokens: int
    prompt_tokens: int


class EmbeddingList(BaseModel):
    """Vectors in the order of the texts."""

    object: Literal["list"]
    model: str
    usage: UsageCount
    data: list[EmbeddingItem]


class ProblemText(BaseModel):
    """An error as OpenAI's API describes it."""

    message: str
    type: str
    param: str | None
    code: int


class Problem(BaseModel):
    """An error in the fields of all dialects at once."""

    detail: str
    error: ProblemText
    errors: list[Any] | None = None
