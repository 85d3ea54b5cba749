"""MilvusStore: documents in a Milvus collection. Only the arguments; the work is in Store and MilvusEngine."""

from typing import Unpack

from pymilvus import MilvusClient

from taskvec_integrations.milvus.engine import MilvusEngine
from taskvec_integrations.milvus.layout import Layout
from taskvec_integrations.store import Store, StoreOptions


class MilvusStore(Store):
    """Documents in a Milvus collection: `ingest` writes them, `search` finds their chunks, `aingest` and `asearch` likewise.

        store = MilvusStore(MilvusClient("index.db"), "docs", encoder="mini", dimensions=256, late_chunking=True)
        store.ingest(documents, progress=True)
        hits = store.search("question", limit=5, filter='kind == "city"')

    client: a MilvusClient for milvus-lite or a server. A collection that does not exist is made. For an index, partitions or
    typed payload fields of your own make it first (see `TextCollection`), with a VARCHAR key, dynamic fields, metric COSINE and
    the right dim, and leave it empty. precision, consistency_level: of a collection that is made here; float32, float16, bfloat16
    or int8; with "Session" a search sees what this process wrote, and other processes a moment later. id_field, vector_field:
    names of fields, which payloads cannot use as keys. The other arguments are those of every store, see `Store`. `filter` of a
    search is an expression of Milvus.
    """

    def __init__(
        self,
        client: MilvusClient,
        collection: str,
        *,
        precision: str = "float32",
        consistency_level: str = "Session",
        id_field: str = "id",
        vector_field: str = "vector",
        **options: Unpack[StoreOptions],
    ) -> None:
        engine = MilvusEngine(client, collection, Layout(precision, id_field, vector_field), consistency_level)
        super().__init__(engine, **options)
