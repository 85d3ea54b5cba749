"""QdrantStore: documents in a Qdrant collection. Only the arguments; the work is in Store and QdrantBackend."""

from collections.abc import Callable
from typing import Unpack

from qdrant_client import AsyncQdrantClient, QdrantClient

from taskvec_integrations.qdrant.backend import Datatype, QdrantBackend
from taskvec_integrations.qdrant.errors import reason, retry_after
from taskvec_integrations.store import Store, StoreOptions

__all__ = ["QdrantStore", "connect", "make_store", "reason", "retry_after"]

TIMEOUT_SECONDS = 30
"""For one call; the client's default of 5 is short for a batch of vectors."""


class QdrantStore(Store):
    """Documents in a Qdrant collection: `ingest` writes them, `search` finds their chunks, `aingest` and `asearch` likewise.

        store = QdrantStore(QdrantClient(path="index"), "docs", encoder="mini", dimensions=256, late_chunking=True)
        store.ingest(documents, progress=True)
        hits = store.search("question", limit=5)

    A collection that does not exist is created. For quantization, HNSW settings or shards create it yourself, with cosine and the
    right size, and leave it empty. `filter` of a search is a qdrant_client.models.Filter.

    Args:
        client: a QdrantClient of any kind, or an AsyncQdrantClient for aingest and asearch.
        collection: its name.
        vector_name: the named vector to use; empty for the unnamed one. Points are written whole, without any other vectors.
        datatype: "float32" or "float16", of a collection that is created here.
        **options: those of every store, see `Store`.

    Raises:
        TypeError: `client` is not a client of Qdrant.
        ValueError: `datatype` is neither float32 nor float16.
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
    """Open a client.

    Args:
        location: a URL, or a folder where `embedded`.
        embedded: whether Qdrant runs in this process.
        key: the API key of a server, if it has one.

    Returns:
        The client and what closes it.

    Raises:
        RuntimeError: another process has the folder open.
    """
    if not embedded:
        client = QdrantClient(location, api_key=key, timeout=TIMEOUT_SECONDS, check_compatibility=False)
        return client, client.close
    try:
        client = QdrantClient(path=location)
    except RuntimeError as error:
        if "already accessed" not in str(error):
            raise
        raise RuntimeError(f"another process has {location} open: wait for it, or run a Qdrant server to share it") from None
    return client, client.close


def make_store(client: QdrantClient, collection: str, **options: Unpack[StoreOptions]) -> QdrantStore:
    """A QdrantStore on a collection of a client that `connect` opened."""
    return QdrantStore(client, collection, **options)
