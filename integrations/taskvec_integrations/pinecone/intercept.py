"""What sync and async indexes share: their settings, the way to all that is the SDK's own, and the checks around a write."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from taskvec import Encoder
from taskvec.integration import DEFAULT_MODEL
from taskvec_integrations.lazy_encoder import LazyEncoder
from taskvec_integrations.pinecone import sdk
from taskvec_integrations.pinecone.embed import Texts
from taskvec_integrations.task_choice import EmbedSettings, TaskChoice

DEFAULT_NAMESPACE = "__default__"


class WithEncoder:
    """The constructor of both, and the way to everything that is the SDK's own."""

    _async: bool

    def __init__(
        self,
        index: Any,
        encoder: Encoder | str | Path = DEFAULT_MODEL,
        *,
        text_field: str = "text",
        vector_fields: Mapping[str, str] | None = None,
        document_field: str | None = None,
        dimensions: int | None = None,
        document_task: TaskChoice = "auto",
        query_task: TaskChoice = "auto",
    ) -> None:
        check_index(index, self._async, type(self).__name__)
        if vector_fields and not hasattr(index, "documents"):
            raise ValueError(f"vector_fields name fields of documents, which {type(index).__name__} of this SDK does not have")
        self._index = index
        settings = EmbedSettings(document_task, query_task, dimensions)
        self._texts = Texts(LazyEncoder(encoder), settings, text_field, vector_fields, document_field)
        self._fits = False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # nor may a copy that has no index yet look for it here
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._index, name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._index!r}, encoder={self._texts.encoder.name!r})"

    def _check_fits(self, stats: Any) -> None:
        """Vectors of another length than the index has are a ValueError that says what to do; it is looked at once."""
        held, ours = getattr(stats, "dimension", None), self._texts.dimensions
        if held is not None and held != ours:
            raise ValueError(
                f"the index has vectors of {held} numbers, {self._texts.encoder.name} makes {ours}: "
                f"pass dimensions={held}, or create an index of dimension {ours}"
            )
        self._fits = True


def check_index(index: object, is_async: bool, wrapper: str) -> None:
    """Anything but an index of the right kind is a TypeError that says what to do."""
    if not hasattr(index, "upsert"):
        fix = "await it first" if hasattr(index, "__await__") else "make one with pc.index(...), in SDK 7 and 8 pc.Index(...)"
        raise TypeError(f"index is {index!r}, an index of Pinecone's SDK was expected: {fix}")
    if sdk.is_async(index) != is_async:
        other = {"TaskvecIndex": "AsyncTaskvecIndex", "AsyncTaskvecIndex": "TaskvecIndex"}[wrapper]
        raise TypeError(f"{wrapper} was given {index!r}: use {other} for it")


def classic(namespace: str, timeout: float | None) -> dict[str, Any]:
    """The arguments of `upsert` beside its vectors, whose name for the default namespace is an empty one."""
    given = {} if timeout is None else {"timeout": timeout}
    return {**given, "namespace": "" if namespace == DEFAULT_NAMESPACE else namespace}


def check_count(response: Any, batch: list[dict[str, Any]]) -> None:
    """An answer that counts fewer vectors than were sent is a RuntimeError."""
    if response.upserted_count != len(batch):
        raise RuntimeError(f"Pinecone says that it has upserted {response.upserted_count} of {len(batch)} vectors")


@contextmanager
def telling(written: int, batch: list[dict[str, Any]]) -> Iterator[None]:
    """An error of a request says which records are written, and from which on it is not known."""
    try:
        yield
    except Exception as error:
        done = f"records 0 to {written - 1} are written" if written else "no record is known to be written"
        since = f"the request from record {written} ({batch[0]['id']!r}) on failed"
        error.add_note(f"{done}, {since}: fix the cause, then upsert those again, or all of them")
        raise
