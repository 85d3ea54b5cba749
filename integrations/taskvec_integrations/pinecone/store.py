"""PineconeStore: documents in a namespace of a Pinecone index. Only the arguments; the work is in Store and PineconeEngine."""

from typing import Any, Unpack

from taskvec_integrations.pinecone.engine import PineconeEngine
from taskvec_integrations.store import Store, StoreOptions


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
        super().__init__(PineconeEngine(index, namespace), **options)
