"""What TaskvecIndex and AsyncTaskvecIndex share: settings, access to the SDK's index, and the checks around a write."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from taskvec import Encoder
from taskvec.integration import DEFAULT_MODEL
from taskvec_integrations.lazy_encoder import LazyEncoder
from taskvec_integrations.pinecone.embed import RecordEmbedder
from taskvec_integrations.pinecone.limits import DEFAULT_NAMESPACE
from taskvec_integrations.task_choice import EmbedSettings, TaskChoice


class IndexWrapper:
    """The constructor of both; every attribute that they do not define is the SDK index's own."""

    _is_async: bool

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
        check_index(index, self._is_async, type(self).__name__)
        if vector_fields and not hasattr(index, "documents"):
            raise ValueError(
                f"vector_fields names fields of documents, which {type(index).__name__} of this SDK does not have: "
                "install pinecone>=10, or leave vector_fields out"
            )
        self._index = index
        settings = EmbedSettings(document_task, query_task, dimensions)
        self._embedder = RecordEmbedder(LazyEncoder(encoder), settings, text_field, vector_fields, document_field)
        self._dimension_checked = False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # an unpickled copy has no _index yet and must not look for it here
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._index, name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._index!r}, encoder={self._embedder.encoder.name!r})"

    def _check_dimension(self, stats: Any) -> None:
        """ValueError where the index has vectors of another dimension than the encoder returns."""
        dimension, ours = getattr(stats, "dimension", None), self._embedder.dimensions
        if dimension is not None and dimension != ours:
            raise ValueError(
                f"the index has dimension {dimension}, {self._embedder.encoder.name} returns vectors of {ours}: "
                f"pass dimensions={dimension}, or create an index of dimension {ours}"
            )
        self._dimension_checked = True


def is_async(index: Any) -> bool:
    """Whether the methods of an index are coroutine functions."""
    return inspect.iscoroutinefunction(inspect.unwrap(index.upsert))


def check_index(index: object, wants_async: bool, wrapper: str) -> None:
    """TypeError with the fix for anything but an index of the kind that `wrapper` takes."""
    if not hasattr(index, "upsert"):
        fix = "await it first" if hasattr(index, "__await__") else "make one with pc.index(...)"
        raise TypeError(f"index is {index!r}, not an index of Pinecone's SDK: {fix}")
    if is_async(index) != wants_async:
        other = {"TaskvecIndex": "AsyncTaskvecIndex", "AsyncTaskvecIndex": "TaskvecIndex"}[wrapper]
        raise TypeError(f"{wrapper} was given {index!r}: use {other} for it")


def upsert_options(namespace: str, timeout: float | None) -> dict[str, Any]:
    """The arguments of the SDK's `upsert` beside the vectors; it calls the default namespace ""."""
    options: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
    return {**options, "namespace": "" if namespace == DEFAULT_NAMESPACE else namespace}


def check_upserted_count(response: Any, batch: list[dict[str, Any]]) -> None:
    """RuntimeError where the response counts fewer vectors than were sent."""
    if response.upserted_count != len(batch):
        raise RuntimeError(
            f"Pinecone upserted {response.upserted_count} of {len(batch)} vectors and did not say which are missing: "
            "upsert these records again"
        )


@contextmanager
def note_written_on_error(written: int, batch: list[dict[str, Any]]) -> Iterator[None]:
    """Add to an error of a request a note that says which records are written, and from which on that is unknown."""
    try:
        yield
    except Exception as error:
        done = f"records 0 to {written - 1} are written" if written else "no record is known to be written"
        since = f"the request that starts at record {written} ({batch[0]['id']!r}) failed"
        error.add_note(f"{done}, {since}: fix the cause, then upsert from that record on, or all records again")
        raise
