"""What the Milvus tests share: a client of either kind, and the check that its texts become the right vectors."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pymilvus import AsyncMilvusClient, MilvusClient

from taskvec import Encoder
from taskvec_integrations.milvus import TextCollection

DIMENSIONS = 96
TEXTS = {
    "tides": "The sea goes up and down twice a day because the moon pulls at the water.",
    "bread": "Yeast turns the sugar in dough into carbon dioxide, which makes the loaf swell.",
    "vaccine": "A weakened germ teaches the body's defences what to attack later.",
    "leaves": "Trees draw back the green pigment before winter and other colours become visible.",
}
QUESTIONS = ["Why does bread rise?", "What causes the tides?"]


class Asked:
    """A client of either kind whose methods are called by name and waited for; an async one lives in one event loop."""

    def __init__(self, make: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._runner = asyncio.Runner()
        self.client = self.wait(make, *args, **kwargs)

    def __call__(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self.wait(getattr(self.client, method), *args, **kwargs)

    def wait(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What a function returns, or the coroutine that it returns."""

        async def call() -> Any:
            made = function(*args, **kwargs)
            return await made if inspect.isawaitable(made) else made

        return self._runner.run(call())

    def create(self, layout: TextCollection, name: str, **options: Any) -> None:
        """Make a collection with this client."""
        make = layout.acreate if isinstance(self.client, AsyncMilvusClient) else layout.create
        self.wait(make, self.client, name, **options)

    def close(self) -> None:
        self("close")
        self._runner.close()


def on(*engines: str) -> pytest.MarkDecorator:
    """Where a test runs, other than milvus-lite; "server-soak" is the server, in `make soak` only."""
    params = [
        pytest.param("server", marks=pytest.mark.soak) if engine == "server-soak" else pytest.param(engine) for engine in engines
    ]
    return pytest.mark.parametrize("uri", params, indirect=True, ids=[engine.partition("-")[0] for engine in engines])


def stored(client: MilvusClient, name: str, field: str = "vector") -> dict[str, np.ndarray]:
    """The vectors of a collection by id."""
    rows = client.query(name, filter='id != ""', output_fields=[field], consistency_level="Strong")
    return {row["id"]: np.asarray(row[field], dtype=np.float32) for row in rows}


def check_vectors(asked: Asked, plain: MilvusClient, encoder: Encoder, name: str) -> None:
    """Rows hold what `encode_documents` makes, searches compare them with what `encode_queries` makes."""
    TextCollection(DIMENSIONS).create(plain, name)
    passages = encoder.encode_documents(list(TEXTS.values()), dimensions=DIMENSIONS)
    queries = encoder.encode_queries(QUESTIONS, dimensions=DIMENSIONS)
    (tides, bread, vaccine, leaves) = TEXTS.values()
    asked("insert", name, [{"id": "tides", "text": "its title", "vector": tides}, {"id": "bread", "text": bread}])
    asked("upsert", name, [{"id": "vaccine", "text": "", "vector": vaccine}])
    asked("upsert", name, {"id": "leaves", "text": leaves})
    held = stored(plain, name)
    np.testing.assert_allclose([held[id] for id in TEXTS], passages, atol=1e-6)
    found = asked("search", name, QUESTIONS, limit=len(TEXTS), consistency_level="Strong")
    for hits, query in zip(found, queries, strict=True):
        scores = {hit["id"]: hit["distance"] for hit in hits}
        np.testing.assert_allclose([scores[id] for id in TEXTS], passages @ query, atol=1e-5)
