"""QdrantStore: documents in a Qdrant collection. Only the arguments; the work is in Store and QdrantEngine."""

from pathlib import Path

from qdrant_client import AsyncQdrantClient, QdrantClient

from taskvec import Encoder
from taskvec.hub import DEFAULT_MODEL
from taskvec_integrations.options import EmbedSettings, TaskChoice
from taskvec_integrations.qdrant.engine import Datatype, QdrantEngine
from taskvec_integrations.store import CHUNK_TOKENS, RETRY_SECONDS, Store


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
        encoder: Encoder | str | Path = DEFAULT_MODEL,
        dimensions: int | None = None,
        late_chunking: bool = False,
        document_task: TaskChoice = "auto",
        query_task: TaskChoice = "auto",
        chunk_tokens: int | None = CHUNK_TOKENS,
        retry_seconds: float = RETRY_SECONDS,
        vector_name: str = "",
        datatype: Datatype = "float32",
    ) -> None:
        settings = EmbedSettings(document_task, query_task, dimensions, late_chunking)
        engine = QdrantEngine(client, collection, vector_name, datatype)
        super().__init__(engine, encoder=encoder, settings=settings, chunk_tokens=chunk_tokens, retry_seconds=retry_seconds)
