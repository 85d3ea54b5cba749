"""What every adapter is told in the same words: which encoder, which task for documents and which for queries."""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from taskvec import Encoder, Task, Usage, shared_encoder
from taskvec.checkpoint.hub import DEFAULT_MODEL
from taskvec.options import check_flag
from taskvec.tasks import DOCUMENT_TASK, QUERY_TASK

JINA_MODELS = ("jinaai/jina-embeddings-v3", DEFAULT_MODEL, "jina-embeddings-v3")
"""Names that mean the encoder of an adapter, wherever its weights were loaded from."""

log = logging.getLogger("taskvec")

TaskChoice = Task | str | None
"""A task, its name, "auto" for the operation's own, None for the bare model."""


def choose_task(task: TaskChoice, operation: Task | None) -> Task | None:
    """The task of an operation unless another one was asked for; an unknown name is a ValueError that lists the five."""
    if task == "auto":
        return operation
    return None if task is None else Task(task)


@dataclass(frozen=True)
class EmbedSettings:
    """Settings of an adapter, given once, so that indexing and searching cannot disagree.

    dimensions: None is the model's full width. late_chunking: chunks of one document share its context.
    """

    document_task: TaskChoice = "auto"
    query_task: TaskChoice = "auto"
    dimensions: int | None = None
    late_chunking: bool = False

    def __post_init__(self) -> None:
        for operation in ("document", "query"):
            self.task(operation)
        check_flag("late_chunking", self.late_chunking)

    def task(self, operation: Literal["document", "query"]) -> Task | None:
        """The task for documents or for queries."""
        if operation == "document":
            return choose_task(self.document_task, DOCUMENT_TASK)
        return choose_task(self.query_task, QUERY_TASK)


def warn_of_cuts(usage: Usage, encoder: Encoder) -> None:
    """Say so where texts of a call were longer than the model's context, for clients that return no report."""
    if usage.truncated:
        log.warning("%d texts were cut at %d tokens, the context of %s", usage.truncated, encoder.max_tokens, encoder.model_id)


@dataclass
class LazyEncoder:
    """An Encoder, or the name of a model (hub id, folder, "mini") that is loaded when it is first needed, once per process.

    arguments: what `shared_encoder` takes beside the model (device, dtype, ...). A value that is a function is called when the
    model is loaded, so that a secret need not be kept here. Pickles without weights and without a token, and loads again where
    it is unpickled. `close` lets go of an encoder that was loaded here, never of one that was passed in. Thread-safe.
    """

    source: Encoder | str | Path = DEFAULT_MODEL
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)
    _loaded: Encoder | None = field(default=None, init=False, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.source, Encoder | str | Path):
            raise TypeError(f"encoder is {self.source!r}: an Encoder or the name of a model was expected")

    @property
    def name(self) -> str:
        """What the model is called: the name that was given, or the encoder's."""
        return self.source.model_id if isinstance(self.source, Encoder) else str(self.source)

    def get(self) -> Encoder:
        """The encoder, loaded if need be; raises what `Encoder.from_pretrained` raises."""
        if isinstance(self.source, Encoder):
            return self.source
        with self._lock:  # two threads that both load would hold the encoder twice, and close it once
            if self._loaded is None:
                arguments = {name: value() if callable(value) else value for name, value in self.arguments.items()}
                self._loaded = shared_encoder(self.source, **arguments)
            return self._loaded

    def close(self) -> None:
        """Let go of what was loaded here; a later `get` loads it again."""
        with self._lock:
            loaded, self._loaded = self._loaded, None
        if loaded is not None:
            loaded.close()

    def __getstate__(self) -> dict[str, object]:
        return {"source": self.source, "arguments": {name: value for name, value in self.arguments.items() if name != "token"}}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _loaded=None, _lock=threading.Lock())
