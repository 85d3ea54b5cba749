"""pymilvus asks every half second whether an index is built or a collection flushed; the tests do not wait that long."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
from pymilvus.client import async_grpc_handler, grpc_handler

MAX_SLEEP_SECONDS = 0.02


class ShortSleeps:
    """A module whose `sleep` is short."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def sleep(self, seconds: float) -> Any:
        return self._module.sleep(min(seconds, MAX_SLEEP_SECONDS))


@contextmanager
def hurried() -> Iterator[None]:
    """pymilvus asks more often while the block lasts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grpc_handler, "time", ShortSleeps(time))
        patch.setattr(async_grpc_handler, "asyncio", ShortSleeps(asyncio))
        yield
