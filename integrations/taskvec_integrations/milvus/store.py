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
from taskvec_integrations.milvus.collection_fields import CollectionFields
from taskvec_integrations.milvus.errors import reason, retry_after
from taskvec_integrations.store import Store, StoreOptions

__all__ = ["MilvusStore", "connect", "make_store", "reason", "retry_after"]

_open_clients: Counter[str] = Counter()  # milvus-lite has one server for each file in a process, which all its clients share
_lock = threading.Lock()


class MilvusStore(Store):
    """Documents in a Milvus collection: `ingest` writes them, `search` finds their chunks, `aingest` and `asearch` likewise.

        store = MilvusStore(MilvusClient("index.db"), "docs", encoder="mini", dimensions=256, late_chunking=True)
        store.ingest(documents, progress=True)
        hits = store.search("question", limit=5, filter='kind == "city"')

    A collection that does not exist is created. For another index, partitions or typed payload fields create it yourself (see
    `TextCollection`), with a VARCHAR key, dynamic fields, metric COSINE and the right dim, and leave it empty. `filter` of a
    search is an expression of Milvus.

    Args:
        client: a MilvusClient for milvus-lite or a server.
        collection: its name.
        precision: "float32", "float16", "bfloat16" or "int8", of a collection that is created here.
        consistency_level: of a collection that is created here. With "Session" a search sees what this process has written;
            other processes see it a moment later.
        id_field: name of the field of the id, which no payload can use as a key.
        vector_field: name of the field of the vector, which no payload can use as a key.
        **options: those of every store, see `Store`.

    Raises:
        TypeError: `client` is not a MilvusClient.
        ValueError: the precision is unknown, or its vectors have no cosine.
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
        backend = MilvusBackend(client, collection, CollectionFields(precision, id_field, vector_field), consistency_level)
        super().__init__(backend, **options)


def connect(location: str, embedded: bool, key: str | None) -> tuple[MilvusClient, Callable[[], None]]:
    """Open a client.

    Args:
        location: a URL, or a file where `embedded`.
        embedded: whether milvus-lite runs in this process.
        key: the token of a server, if it has one.

    Returns:
        The client and what closes it.

    Raises:
        MissingExtraError: milvus-lite is needed and not installed.
        RuntimeError: the file cannot be opened.
    """
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
        raise RuntimeError(
            f"{location} cannot be opened: another process has it open, or it is not a file of milvus-lite"
        ) from None

    with _lock:
        _open_clients[location] += 1

    def close() -> None:
        from milvus_lite.server_manager import server_manager_instance

        client.close()
        with _lock:
            _open_clients[location] -= 1
            if not _open_clients[location]:
                server_manager_instance.release_server(location)  # else this process keeps the file

    return client, close


def make_store(client: MilvusClient, collection: str, **options: Unpack[StoreOptions]) -> MilvusStore:
    """A MilvusStore on a collection of a client that `connect` opened."""
    return MilvusStore(client, collection, **options)
