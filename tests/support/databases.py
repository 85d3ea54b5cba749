"""The databases that the contract runs over. A new one is a class here and a row in `DATABASES`."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from pinecone import Pinecone as PineconeClient
from pymilvus import MilvusClient
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from support.database import Async, Database, Fake, Stored, Sync, Usual
from support.pinecone.emulator import KEY, PineconeServer, pinecone
from support.pinecone.needledb import create_index, needledb
from support.qdrant.edge_client import EdgeClient
from support.qdrant.http import stub_qdrant
from taskvec_integrations.ingestion.points import HASH_FIELD
from taskvec_integrations.milvus import MilvusStore, TextCollection
from taskvec_integrations.pinecone import PineconeStore
from taskvec_integrations.qdrant import QdrantStore
from taskvec_integrations.qdrant.backend import RECORD_POINT
from taskvec_integrations.store import Store

__all__ = ["DATABASES", "Database", "MilvusServer", "Stored"]


class Qdrant:
    """An embedded Qdrant in memory or in a folder."""

    def __init__(self, client: QdrantClient | AsyncQdrantClient) -> None:
        self._client = client

    def store(self, **settings: Any) -> Store:
        return QdrantStore(self._client, "docs", **settings)

    def points(self) -> dict[str, Stored]:
        found, _ = self._run(self._client.scroll("docs", limit=10**6, with_payload=True, with_vectors=True))
        found = [point for point in found if point.id != RECORD_POINT]
        return {point.id: Stored(point.payload, np.array(point.vector, dtype=np.float32)) for point in found}

    def make(self, dimensions: int, metric: str = "cosine") -> None:
        distance = {"cosine": models.Distance.COSINE, "dot": models.Distance.DOT}[metric]
        self._run(self._client.create_collection("docs", models.VectorParams(size=dimensions, distance=distance)))

    def add_foreign_point(self, dimensions: int) -> None:
        self._run(self._client.upsert("docs", [models.PointStruct(id=1, vector=[1.0] * dimensions, payload={})]))

    def where(self, key: str, value: str) -> Any:
        return models.Filter(must=[models.FieldCondition(key=key, match=models.MatchValue(value=value))])

    def close(self) -> None:
        self._run(self._client.close())

    def _run(self, result: Any) -> Any:
        return result


class QdrantMemory(Sync, Qdrant):
    def __init__(self, folder: Path) -> None:
        super().__init__(QdrantClient(":memory:"))


class QdrantPath(Sync, Qdrant):
    def __init__(self, folder: Path) -> None:
        super().__init__(QdrantClient(path=str(folder / "qdrant")))


class QdrantPathFromAsync(Async, Qdrant):
    """A plain client, and a coroutine that uses the store."""

    def __init__(self, folder: Path) -> None:
        super().__init__(QdrantClient(path=str(folder / "qdrant")))


class QdrantAsync(Async, Qdrant):
    def __init__(self, folder: Path) -> None:
        super().__init__(AsyncQdrantClient(":memory:"))

    def _run(self, result: Any) -> Any:
        async def wait() -> Any:
            return await result

        return asyncio.run(wait())


class QdrantHttp(Sync, Qdrant):
    """The remote path over HTTP."""

    def __init__(self, folder: Path) -> None:
        self._stub = ExitStack()
        self.server = self._stub.enter_context(stub_qdrant(self.backend(folder)))
        self._remote = QdrantClient(self.server.url, check_compatibility=False)
        super().__init__(self.server.client)

    def backend(self, folder: Path) -> QdrantClient | None:
        """What answers behind the stand-in."""
        return None

    def store(self, **settings: Any) -> Store:
        return QdrantStore(self._remote, "docs", **settings)

    def close(self) -> None:
        self._remote.close()
        self._stub.close()


class QdrantOldHttp(QdrantHttp):
    """A server that does not know collection metadata."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.server.knows_metadata = False


class QdrantEdge(QdrantHttp):
    """Qdrant's real engine behind the stand-in."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.server.knows_metadata = False

    def backend(self, folder: Path) -> QdrantClient | None:
        return EdgeClient(folder)


class Milvus(Sync):
    """A collection of its own in a Milvus that others may use, too."""

    def __init__(self, uri: str) -> None:
        self._client = MilvusClient(uri)
        self._collection = "docs"
        if self._client.has_collection(self._collection):
            self._client.drop_collection(self._collection)

    def store(self, **settings: Any) -> Store:
        return MilvusStore(self._client, self._collection, **settings)

    def points(self) -> dict[str, Stored]:
        rows = self._client.query("docs", filter='id != ""', output_fields=["*"], consistency_level="Strong")
        return {row.pop("id"): Stored(row, np.array(row.pop("vector"), dtype=np.float32)) for row in map(dict, rows)}

    def make(self, dimensions: int, metric: str = "cosine") -> None:
        kind = {"cosine": "COSINE", "dot": "IP"}[metric]
        TextCollection(dimensions, index={"index_type": "FLAT", "metric_type": kind}).create(self._client, "docs")

    def add_foreign_point(self, dimensions: int) -> None:
        self._client.insert("docs", [{"id": "x", "text": "", "vector": [1.0] * dimensions}])

    def where(self, key: str, value: str) -> Any:
        return f'{key} == "{value}"'

    def close(self) -> None:
        self._client.close()


class MilvusLite(Milvus):
    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder / "milvus.db"))


class MilvusLiteFromAsync(Async, MilvusLite):
    """A plain client, and a coroutine that uses the store."""


class MilvusServer(Milvus):
    """A real server; the fixture `server_uri` starts it."""

    uri = ""

    def __init__(self, folder: Path) -> None:
        super().__init__(self.uri)


class Pinecone(Usual):
    """A namespace docs of an index that its user made, as long as the vectors of the first store on it."""

    makes_collections = nests = False

    def __init__(self) -> None:
        self._open = ExitStack()
        self._index: Any = None

    def create_index(self, dimensions: int, metric: str) -> tuple[str, str]:
        """An API key and the host of an index."""
        raise NotImplementedError

    def id(self, document_id: str, chunk: int, fields: dict[str, Any]) -> str:
        return f"{document_id}#{chunk}#{fields[HASH_FIELD]}"

    def store(self, **settings: Any) -> Store:
        if not self._index:
            self.make(settings.get("dimensions") or settings["encoder"].dimensions)
        return PineconeStore(self._index, namespace="docs", **settings)

    def points(self) -> dict[str, Stored]:
        ids = [item.id for page in self._index.list(namespace="docs") for item in page.vectors]
        found = self._index.fetch(ids=ids, namespace="docs").vectors if ids else {}
        return {id: Stored(held.metadata, np.array(held.values, dtype=np.float32)) for id, held in found.items()}

    def make(self, dimensions: int, metric: str = "cosine") -> None:
        key, host = self.create_index(dimensions, {"dot": "dotproduct"}.get(metric, metric))
        client = self._open.enter_context(PineconeClient(api_key=key))
        self._index = self._open.enter_context(client.Index(host=host))

    def add_foreign_point(self, dimensions: int) -> None:
        self._index.upsert(vectors=[("x", [1.0] * dimensions)], namespace="docs")
        self.points()  # looking at everything shows it, however late writes are

    def where(self, key: str, value: str) -> Any:
        return {key: {"$eq": value}}

    def close(self) -> None:
        self._open.close()


class PineconeEmulator(Sync, Pinecone):
    """Writes show late."""

    lag = 3

    def __init__(self, folder: Path) -> None:
        super().__init__()

    def create_index(self, dimensions: int, metric: str) -> tuple[str, str]:
        self._server: PineconeServer = self._open.enter_context(pinecone(dimensions, metric, lag=self.lag))
        return KEY, self._server.url

    def points(self) -> dict[str, Stored]:
        records = self._server.stored("docs").items()
        return {id: Stored(record.fields, record.values) for id, record in records if record.values is not None}


class PineconeEmulatorFromAsync(Async, PineconeEmulator):
    """A plain index, and a coroutine that uses the store; no lag, for a change."""

    lag = 0


class PineconeNeedleDB(Sync, Pinecone):
    """A server that nobody here wrote."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._url = self._open.enter_context(needledb(folder))

    def create_index(self, dimensions: int, metric: str) -> tuple[str, str]:
        return "none", create_index(self._url, "docs", dimensions, metric)


DATABASES: dict[str, Callable[[Path], Database]] = {
    "fake": Fake,
    "qdrant-memory": QdrantMemory,
    "qdrant-path": QdrantPath,
    "qdrant-path-from-async": QdrantPathFromAsync,
    "qdrant-async-client": QdrantAsync,
    "qdrant-http": QdrantHttp,
    "qdrant-http-without-metadata": QdrantOldHttp,
    "qdrant-edge": QdrantEdge,
    "milvus-lite": MilvusLite,
    "milvus-lite-from-async": MilvusLiteFromAsync,
    "milvus-server": MilvusServer,
    "pinecone-emulator": PineconeEmulator,
    "pinecone-emulator-from-async": PineconeEmulatorFromAsync,
    "pinecone-needledb": PineconeNeedleDB,
}
