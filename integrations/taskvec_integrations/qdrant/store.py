"""QdrantStore: documents in a Qdrant collection. Only the arguments; the work is in Store and QdrantBackend."""

from collections.abc import Callable
from typing import Unpack

from qdrant_client import AsyncQdrantClient, QdrantClient

from taskvec_integrations.qdrant.backend import Datatype, QdrantBackend
from taskvec_integrations.qdrant.errors import reason, retry_after
from taskvec_integrations.store import Store, StoreOptions

__all__ = ["QdrantStore", "connect", "make_store", "reason", "retry_after"]

TIMEOUT = 30
"""Seconds for one call; the client's own 5 are few for a batch of vectors."""


class QdrantStore(Store):
    """Documents in a Qdrant collection: `ingest` writes them, `search` finds their chunks, `aingest` and `asearch` likewise.

        store = QdrantStore(QdrantClient(path="index"), "docs", encoder="mini", dimensions=256, late_chunking=True)
        store.ingest(documents, progress=True)
        hits = store.search("question", limit=5)

    client: a QdrantClient of any kind, or an AsyncQdrantClient for aingest and asearch. A collection that does not exist is made;
    for quantization, HNSW settings or shards of your own make it first, with cosine and the right size, and leave it empty.
    vector_name: the named vector to use, unnamed by default; points are written whole, without any other vectors. datatype:
    float32 or float16, of a collection that is made here. The other arguments are those of every store, see `Store`. `filter`
    of a search is a qdrant_client.models.Filter.
    """

    def __init__(
        self,
        client: QdrantClient | AsyncQdrantClient,
        collection: str,
        *,
        vector_name: str = "",
        datatype: Datatype = "float32",
        **options: Unpack[StoreOptions],
    ) -> None:
        backend = QdrantBackend(client, collection, vector_name, datatype)
        super().__init__(backend, **options)


def connect(location: str, embedded: bool, key: str | None) -> tuple[QdrantClient, Callable[[], None]]:
    """A client and what closes it; RuntimeError where another process has the folder open."""
    if not embedded:
        client = QdrantClient(location, api_key=key, timeout=TIMEOUT, check_compatibility=False)
        return client, client.close
    try:
        client = QdrantClient(path=location)
    except RuntimeError as error:
        if "already accessed" not in str(error):
            raise
        raise RuntimeError(f"another process has {location} open: wait for it, or run a Qdrant server to share it") from None
    return client, client.close


def make_store(client: QdrantClient, collection: str, **options: Unpack[StoreOptions]) -> QdrantStore:
    """A store on a collection."""
    return QdrantStore(client, collection, **options)
