"""MilvusStore: documents in a Milvus collection. Only the arguments; the work is in Store and MilvusEngine."""

from pathlib import Path

from pymilvus import MilvusClient

from taskvec import Encoder
from taskvec.hub import DEFAULT_MODEL
from taskvec_integrations.milvus.engine import MilvusEngine
from taskvec_integrations.milvus.layout import Layout
from taskvec_integrations.options import EmbedSettings, TaskChoice
from taskvec_integrations.store import CHUNK_TOKENS, RETRY_SECONDS, Store


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
        encoder: Encoder | str | Path = DEFAULT_MODEL,
        dimensions: int | None = None,
        late_chunking: bool = False,
        document_task: TaskChoice = "auto",
        query_task: TaskChoice = "auto",
        chunk_tokens: int | None = CHUNK_TOKENS,
        retry_seconds: float = RETRY_SECONDS,
        precision: str = "float32",
        consistency_level: str = "Session",
        id_field: str = "id",
        vector_field: str = "vector",
    ) -> None:
        settings = EmbedSettings(document_task, query_task, dimensions, late_chunking)
        engine = MilvusEngine(client, collection, Layout(precision, id_field, vector_field), consistency_level)
        super().__init__(engine, encoder=encoder, settings=settings, chunk_tokens=chunk_tokens, retry_seconds=retry_seconds)
