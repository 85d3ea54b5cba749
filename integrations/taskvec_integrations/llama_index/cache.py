"""LlamaIndex's embeddings_cache made safe: it looks vectors up by the bare text, whatever model, task or width they are of."""

import asyncio
from collections.abc import Callable
from functools import cached_property, wraps
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

from llama_index.core.storage.kvstore.types import BaseKVStore

P = ParamSpec("P")
R = TypeVar("R")

Operation = Literal["document", "query"]


class KeyedStore:
    """A key-value store as one embedding and operation sees it: every key has `namespace()` in front, which may load a model."""

    def __init__(self, store: BaseKVStore, namespace: Callable[[], str]) -> None:
        self._store = store
        self._find_namespace = namespace

    @cached_property
    def _namespace(self) -> str:
        return self._find_namespace()

    def _key(self, text: str) -> str:
        return f"{self._namespace} {text}"

    def get(self, key: str, collection: str) -> dict[str, Any] | None:
        """As in the store."""
        return self._store.get(self._key(key), collection=collection)

    def put(self, key: str, val: dict[str, Any], collection: str) -> None:
        """As in the store."""
        self._store.put(self._key(key), val, collection=collection)

    async def aget(self, key: str, collection: str) -> dict[str, Any] | None:
        """As in the store; the namespace is found in a thread."""
        return await self._store.aget(await asyncio.to_thread(self._key, key), collection=collection)

    async def aput(self, key: str, val: dict[str, Any], collection: str) -> None:
        """As in the store; the namespace is found in a thread."""
        await self._store.aput(await asyncio.to_thread(self._key, key), val, collection=collection)


def keyed(method: Callable[Concatenate[Any, P], R], operation: Operation) -> Callable[Concatenate[Any, P], R]:
    """A public method of BaseEmbedding that sees the cache of an operation; its events and its span stay as they are."""

    @wraps(method)
    def with_keys(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return method(self._keyed(operation), *args, **kwargs)

    return with_keys
