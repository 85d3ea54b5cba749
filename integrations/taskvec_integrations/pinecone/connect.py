"""Connecting to the Pinecone index that a URL names (store_url.py): by its name, or by its host."""

from collections.abc import Callable
from typing import Any, Unpack

from pinecone import Pinecone

from taskvec_integrations.pinecone.errors import reason, retry_after
from taskvec_integrations.pinecone.store import PineconeStore
from taskvec_integrations.store import StoreOptions

__all__ = ["connect", "make_store", "reason", "retry_after"]


def connect(location: str, embedded: bool, key: str | None) -> tuple[Any, Callable[[], None]]:
    """An index and what closes it; ValueError without a key, which only servers on plain http (emulators) do without."""
    if not key and not location.startswith("http://"):
        raise ValueError("PINECONE_API_KEY is not set: make a key in Pinecone's console and export it")
    client: Any = Pinecone(api_key=key or "none")
    index = client.Index(host=location) if "://" in location else client.Index(location)
    return index, getattr(index, "close", lambda: None)


def make_store(client: Any, collection: str, **options: Unpack[StoreOptions]) -> PineconeStore:
    """A store on a namespace."""
    return PineconeStore(client, namespace=collection, **options)
