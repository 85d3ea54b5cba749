"""PineconeStore: documents in a namespace of a Pinecone index. Only the arguments; the work is in Store and PineconeBackend."""

from collections.abc import Callable
from typing import Any, Unpack

from pinecone import Pinecone

from taskvec_integrations.pinecone.backend import PineconeBackend
from taskvec_integrations.pinecone.errors import reason, retry_after
from taskvec_integrations.store import Store, StoreOptions

__all__ = ["PineconeStore", "connect", "make_store", "reason", "retry_after"]


class PineconeStore(Store):
    """Documents in a Pinecone index: `ingest` writes them, `search` finds their chunks, `aingest` and `asearch` likewise.

        store = PineconeStore(Pinecone().Index("docs"), encoder="mini", dimensions=256, late_chunking=True)
        store.ingest(documents, progress=True)
        hits = store.search("question", limit=5, filter={"kind": {"$eq": "city"}})

    index: an Index, GrpcIndex or TaskvecIndex of a serverless index that was made with metric cosine and the right dimension.
    namespace: the default one unless given; documents of another model, task or width need another. The other arguments are those
    of every store, see `Store`. `filter` of a search is a dict as Pinecone takes it.

    Payloads are flat: strings, numbers (which come back as floats), booleans, lists of strings; at most 40 KB with the text.
    Document ids are ASCII. A document that breaks these limits is named in the report. What was written can be searched when
    `ingest` returns; a chunk that changed counts as one written and one deleted.
    """

    def __init__(self, index: Any, *, namespace: str = "", **options: Unpack[StoreOptions]) -> None:
        super().__init__(PineconeBackend(index, namespace), **options)


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
