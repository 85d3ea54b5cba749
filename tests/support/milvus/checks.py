"""What the Milvus tests share: a client of either kind, and the check that its texts become the right vectors."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
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
ROWS = [{"id": id, "text": text} for id, text in TEXTS.items()]
QUESTIONS = ["Why does bread rise?", "What causes the tides?"]


class AnyClient:
    """A sync or async client whose methods return when they are done; an async one lives in one event loop."""

    def __init__(self, make: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._runner = asyncio.Runner()
        self.client = self._wait(make, *args, **kwargs)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.client, name)
        return lambda *args, **kwargs: self._wait(method, *args, **kwargs)

    def create(self, texts: TextCollection, name: str, **options: Any) -> None:
        """Create a collection with this client."""
        create = texts.acreate if isinstance(self.client, AsyncMilvusClient) else texts.create
        self._wait(create, self.client, name, **options)

    def close(self) -> None:
        self._wait(self.client.close)
        self._runner.close()

    def _wait(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What a function returns, or the coroutine that it returns."""

        async def call() -> Any:
            result = function(*args, **kwargs)
            return await result if inspect.isawaitable(result) else result

        return self._runner.run(call())


def on(*servers: str) -> pytest.MarkDecorator:
    """Where a test runs, if not on milvus-lite alone; "server-soak" is the real server, in `make soak` only."""
    params = [
        pytest.param("server", marks=pytest.mark.soak) if server == "server-soak" else pytest.param(server) for server in servers
    ]
    return pytest.mark.parametrize("uri", params, indirect=True, ids=[server.partition("-")[0] for server in servers])


def count_texts(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A list that gets the texts of every call of the encoder from now on."""
    calls: list[list[str]] = []
    encode = Encoder.encode

    def counted(self: Encoder, texts: Any, **options: Any) -> Any:
        calls.append(list(texts))
        return encode(self, texts, **options)

    monkeypatch.setattr(Encoder, "encode", counted)
    return calls


def stored(client: MilvusClient, name: str, field: str = "vector") -> dict[str, NDArray[np.float32]]:
    """The vectors of a collection by id."""
    rows = client.query(name, filter='id != ""', output_fields=[field], consistency_level="Strong")
    return {row["id"]: np.asarray(row[field], dtype=np.float32) for row in rows}


def check_vectors(any_client: AnyClient, plain: MilvusClient, encoder: Encoder, name: str) -> None:
    """Rows hold what `encode_documents` makes, searches compare them with what `encode_queries` makes."""
    TextCollection(DIMENSIONS).create(plain, name)
    passages = encoder.encode_documents(list(TEXTS.values()), dimensions=DIMENSIONS)
    queries = encoder.encode_queries(QUESTIONS, dimensions=DIMENSIONS)
    (tides, bread, vaccine, leaves) = TEXTS.values()
    any_client.insert(name, [{"id": "tides", "text": "its title", "vector": tides}, {"id": "bread", "text": bread}])
    any_client.upsert(name, [{"id": "vaccine", "text": "", "vector": vaccine}])
    any_client.upsert(name, {"id": "leaves", "text": leaves})
    vectors = stored(plain, name)
    np.testing.assert_allclose([vectors[id] for id in TEXTS], passages, atol=1e-6)
    found = any_client.search(name, QUESTIONS, limit=len(TEXTS), consistency_level="Strong")
    for hits, query in zip(found, queries, strict=True):
        scores = {hit["id"]: hit["distance"] for hit in hits}
        np.testing.assert_allclose([scores[id] for id in TEXTS], passages @ query, atol=1e-5)
