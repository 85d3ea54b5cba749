"""QdrantStore: documents in a Qdrant collection. Only the arguments; the work is in Store and QdrantEngine."""

from typing import Unpack

from qdrant_client import AsyncQdrantClient, QdrantClient

from taskvec_integrations.qdrant.engine import Datatype, QdrantEngine
from taskvec_integrations.store import Store, StoreOptions


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
        engine = QdrantEngine(client, collection, vector_name, datatype)
        super().__init__(engine, **options)
