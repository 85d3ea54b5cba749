"""MilvusStore: documents in a Milvus collection. Only the arguments; the work is in Store and MilvusBackend."""

import logging
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Unpack

from pymilvus import MilvusClient, MilvusException

from taskvec_integrations.extras import MissingExtraError
from taskvec_integrations.milvus.backend import MilvusBackend
from taskvec_integrations.milvus.errors import reason, retry_after
from taskvec_integrations.milvus.layout import Layout
from taskvec_integrations.store import Store, StoreOptions

__all__ = ["MilvusStore", "connect", "make_store", "reason", "retry_after"]

_holders: Counter[str] = Counter()  # milvus-lite has one server for each file in a process, which all its clients share
_lock = threading.Lock()


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
        backend = MilvusBackend(client, collection, Layout(precision, id_field, vector_field), consistency_level)
        super().__init__(backend, **options)


def connect(location: str, embedded: bool, key: str | None) -> tuple[MilvusClient, Callable[[], None]]:
    """A client, connected, and what closes it."""
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it logs the traces of errors that it raises as well
    if not embedded:
        client = MilvusClient(location, token=key or "")
        return client, client.close
    Path(location).parent.mkdir(parents=True, exist_ok=True)
    try:
        client = MilvusClient(location)
    except MilvusException as error:
        if "milvus-lite is required" in str(error):
            raise MissingExtraError(
                f"{location} is a file of milvus-lite, which is not installed: pip install milvus-lite"
            ) from None
        if "Open local milvus failed" not in str(error):
            raise
        raise RuntimeError(f"{location} cannot be opened: another process has it open, or it is no file of milvus-lite") from None

    with _lock:
        _holders[location] += 1

    def close() -> None:
        from milvus_lite.server_manager import server_manager_instance

        client.close()
        with _lock:
            _holders[location] -= 1
            if not _holders[location]:
                server_manager_instance.release_server(location)  # else this process keeps the file

    return client, close


def make_store(client: MilvusClient, collection: str, **options: Unpack[StoreOptions]) -> MilvusStore:
    """A store on a collection."""
    return MilvusStore(client, collection, **options)
