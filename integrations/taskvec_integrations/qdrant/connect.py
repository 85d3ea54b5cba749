"""Connecting to the Qdrant that a URL names (store_url.py)."""

from collections.abc import Callable
from typing import Unpack

from qdrant_client import QdrantClient

from taskvec_integrations.qdrant.errors import reason, retry_after
from taskvec_integrations.qdrant.store import QdrantStore
from taskvec_integrations.store import StoreOptions

__all__ = ["connect", "make_store", "reason", "retry_after"]

TIMEOUT = 30
"""Seconds for one call; the client's own 5 are few for a batch of vectors."""


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
