"""Texts, Documents, comparisons and the client of either kind that the tests of the Qdrant integration share."""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.testing import assert_allclose
from qdrant_client.models import Distance, Document, MultiVectorComparator, MultiVectorConfig, PointStruct, VectorParams

from taskvec_integrations.qdrant import AsyncTaskvecQdrantClient

JINA = "jinaai/jina-embeddings-v3"
COLLECTION = "texts"
TEXTS = [
    "Marie Curie was born in Warsaw in 1867.",
    "She shared the Nobel Prize in Physics with her husband.",
    "Yeast turns sugar into gas, which makes bread rise.",
    "The Spree flows through Berlin.",
]
QUESTION = "Which prize did Marie Curie win?"
WIDTH = 384  # of mini

# What float32 arithmetic in another order, the server's own normalizing and JSON leave of a difference.
ROUNDING = 2e-6


def document(text: str, **options: Any) -> Document:
    """A Document of our model; without options it has none."""
    return Document(text=text, model=JINA, options=options or None)


def points(texts: list[str] = TEXTS, **options: Any) -> list[PointStruct]:
    """One point for each text, numbered, its payload the text."""
    return [PointStruct(id=i, vector=document(text, **options), payload={"text": text}) for i, text in enumerate(texts)]


def create(client: Any, size: int = WIDTH, named: Mapping[str, VectorParams] | None = None) -> None:
    """The collection of the tests, with one unnamed vector or named ones."""
    client.create_collection(COLLECTION, named or VectorParams(size=size, distance=Distance.COSINE))


def vector_params(size: int = WIDTH, *, multi: bool = False) -> VectorParams:
    """Parameters of a vector with cosine; `multi` for a multivector."""
    maxsim = MultiVectorConfig(comparator=MultiVectorComparator.MAX_SIM) if multi else None
    return VectorParams(size=size, distance=Distance.COSINE, multivector_config=maxsim)


def stored(client: Any, number: int = len(TEXTS), name: str | None = None) -> Any:
    """The vectors of the points 0 to `number`, in order."""
    records = {record.id: record.vector for record in client.retrieve(COLLECTION, list(range(number)), with_vectors=True)}
    vectors = [records[i] for i in range(number)]
    return np.array([vector if name is None else vector[name] for vector in vectors], dtype=np.float32)


def assert_equal(actual: Any, expected: Any) -> None:
    """Equal to float32 rounding."""
    assert_allclose(actual, expected, rtol=0, atol=ROUNDING)


class AnyClient:
    """A sync or async client whose methods return when they are done; `upload_...` of an async one is `aupload_...`."""

    def __init__(self, client: Any, runner: asyncio.Runner) -> None:
        self.client = client
        self._runner = runner

    def __getattr__(self, name: str) -> Callable[..., Any]:
        is_async = isinstance(self.client, AsyncTaskvecQdrantClient)
        method = getattr(self.client, f"a{name}" if is_async and name.startswith("upload_") else name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if not is_async:
                return method(*args, **kwargs)

            async def run() -> Any:
                result = method(*args, **kwargs)
                return await result if inspect.isawaitable(result) else result

            return self._runner.run(run())

        return call
