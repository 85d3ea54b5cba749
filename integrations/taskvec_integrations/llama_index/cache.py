"""LlamaIndex's embeddings_cache made safe: it looks vectors up by the bare text, whatever model, task or width they are of."""

import asyncio
from collections.abc import Callable
from functools import cached_property, wraps
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

from llama_index.core.storage.kvstore.types import BaseKVStore

P = ParamSpec("P")
R = TypeVar("R")

Operation = Literal["document", "query"]


class NamespaceStore:
    """A key-value store in which every key has a namespace in front.

    Args:
        store: The store.
        find_namespace: Called once, when the first key is looked up. It may take long, because it may load a model.
    """

    def __init__(self, store: BaseKVStore, find_namespace: Callable[[], str]) -> None:
        self._store = store
        self._find_namespace = find_namespace

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


def with_safe_cache(method: Callable[Concatenate[Any, P], R], operation: Operation) -> Callable[Concatenate[Any, P], R]:
    """A public method of BaseEmbedding that finds only vectors of its own operation in the cache.

    Args:
        method: The method; its events and its span stay as they are.
        operation: Whether it embeds documents or a query.
    """

    @wraps(method)
    def cached_method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return method(self._with_safe_cache(operation), *args, **kwargs)

    return cached_method
