"""Runs of the ingestion over the database in a dictionary: documents, stores, and what is checked after a run."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from support.fake_backend import BusyError, FakeBackend, FakeStore, OnCall
from taskvec import Encoder

Pair = tuple[str | int, str]
STORE_OPTIONS = ("late_chunking", "retry_seconds", "chunk_tokens")


def texts(count: int) -> list[Pair]:
    """So many documents of one short text, with their numbers as ids."""
    return [(number, f"text {number}") for number in range(count)]


def store_of(encoder: Encoder, trouble: OnCall | None = None, **settings: Any) -> FakeStore:
    """A store on a new database; settings are options of a store, or limits of its backend."""
    options = {name: settings.pop(name) for name in STORE_OPTIONS if name in settings}
    backend = FakeBackend({}, **settings)
    if trouble:
        backend.trouble = trouble
    return FakeStore(backend, encoder=encoder, **options)  # type: ignore[typeddict-item]


def busy_times(count: int, *methods: str, seconds: float = 0.0) -> OnCall:
    """A server that is busy at the first `count` calls of some methods, and asks to wait."""
    left = count

    def trouble(method: str, batch: Sequence[Any]) -> None:
        nonlocal left
        if method in methods and left:
            left -= 1
            raise BusyError(seconds)

    return trouble


def assert_all_written(store: FakeStore, encoder: Encoder, documents: Sequence[Pair]) -> None:
    """The store holds exactly these documents, with the vectors that the encoder makes of them."""
    wanted = encoder.encode_documents([text for _, text in documents])
    assert store.vectors.keys() == {(str(id), 0) for id, _ in documents}
    np.testing.assert_allclose([store.vectors[str(id), 0] for id, _ in documents], wanted, atol=1e-6)


def count_calls(store: FakeStore, method: str) -> int:
    """How often a method of the backend was called."""
    return [name for name, _ in store.backend.calls].count(method)


def threads_of_runs() -> list[str]:
    """The names of threads that a run started and that are still there."""
    prefixes = ("taskvec-ahead", "taskvec-upload", "taskvec-split")
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(prefixes)]
