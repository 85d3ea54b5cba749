"""PineconeStore: documents in a namespace of a Pinecone index. Only the arguments; the work is in Store and PineconeBackend."""

from collections.abc import Callable
from typing import Any, Unpack

from pinecone import Pinecone

from taskvec_integrations.pinecone.backend import PineconeBackend
from taskvec_integrations.pinecone.errors import reason, retry_after
from taskvec_integrations.pinecone.intercept import is_async
from taskvec_integrations.store import Store, StoreOptions

__all__ = ["PineconeStore", "connect", "make_store", "reason", "retry_after"]


class PineconeStore(Store):
    """Documents in a Pinecone index: `ingest` writes them, `search` finds their chunks, `aingest` and `asearch` likewise.

        store = PineconeStore(Pinecone().index("docs"), encoder="mini", dimensions=256, late_chunking=True)
        store.ingest(documents, progress=True)
        hits = store.search("question", limit=5, filter={"kind": {"$eq": "city"}})

    Document ids are ASCII. Payloads are flat: strings, numbers (which come back as floats), booleans and lists of strings, at
    most 40 KB with the text. The report names each document that breaks these limits. What was written can be searched when
    `ingest` returns. A chunk that changed counts as one written and one deleted. The `filter` of a search is a dict as Pinecone
    takes it.

    Args:
        index: An Index, GrpcIndex or TaskvecIndex of a serverless index, which you create with metric cosine and the dimension
            of the vectors.
        namespace: Its name; "" is the default namespace. Documents of another model, task or dimension need another namespace.
        **options: The settings of every store, see `Store`: encoder, dimensions, late_chunking, document_task, query_task,
            chunk_tokens, retry_seconds.

    Raises:
        TypeError: `index` is not an index, or an async one.
        ValueError: The namespace is not ASCII, or is "taskvec", which the stores need themselves.
    """

    def __init__(self, index: Any, *, namespace: str = "", **options: Unpack[StoreOptions]) -> None:
        _check_index(index)
        super().__init__(PineconeBackend(index, namespace), **options)


def connect(location: str, embedded: bool, key: str | None) -> tuple[Any, Callable[[], None]]:
    """An index and what closes it.

    Args:
        location: The name of an index, or its host as a URL.
        embedded: Ignored: Pinecone is always a server.
        key: The API key. Only a host with plain http, such as an emulator, works without one.

    Raises:
        ValueError: The key is missing.
    """
    if not key and not location.startswith("http://"):
        raise ValueError("PINECONE_API_KEY is not set: create a key in Pinecone's console and export it")
    client = Pinecone(api_key=key or "none")
    index = client.index(host=location) if "://" in location else client.index(location)
    return index, getattr(index, "close", lambda: None)


def make_store(client: Any, collection: str, **options: Unpack[StoreOptions]) -> PineconeStore:
    """A store on a namespace of an index, see `connect`."""
    return PineconeStore(client, namespace=collection, **options)


def _check_index(index: Any) -> None:
    if not hasattr(index, "describe_index_stats"):
        raise TypeError(f"index is {index!r}: pass an index, such as pc.index(...) returns")
    if is_async(index):
        raise TypeError(f"index is {index!r}: pass a plain Index; aingest and asearch use it in a thread")
