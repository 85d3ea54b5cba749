"""Connecting to the Milvus that a URL names (store_url.py)."""

import logging
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Unpack

from pymilvus import MilvusClient, MilvusException

from taskvec_integrations.extras import MissingExtraError
from taskvec_integrations.milvus.errors import reason, retry_after
from taskvec_integrations.milvus.store import MilvusStore
from taskvec_integrations.store import StoreOptions

__all__ = ["connect", "make_store", "reason", "retry_after"]

_holders: Counter[str] = Counter()  # milvus-lite has one server for each file in a process, which all its clients share
_lock = threading.Lock()

logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it logs the traces of errors that it raises as well


def connect(location: str, embedded: bool, key: str | None) -> tuple[MilvusClient, Callable[[], None]]:
    """A client, connected, and what closes it."""
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
