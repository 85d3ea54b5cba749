"""What the Milvus tests share: a client of either kind, and the check that its texts become the right vectors."""

import asyncio
from typing import Any

import numpy as np
from pymilvus import MilvusClient

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
    """A client of either kind whose methods are called by name and waited for."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self._runner = asyncio.Runner()

    def __call__(self, method: str, *args: Any, **kwargs: Any) -> Any:
        made = getattr(self.client, method)
        if not asyncio.iscoroutinefunction(made):
            return made(*args, **kwargs)

        async def call() -> Any:
            return await made(*args, **kwargs)

        return self._runner.run(call())

    def close(self) -> None:
        self("close")
        self._runner.close()


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
