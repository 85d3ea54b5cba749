"""The `parameters` of an `embed` call: their names, their meaning for the encoder, and what is wrong with others."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

from taskvec import EncodeOptions
from taskvec.integration import check_flag
from taskvec_integrations.task_choice import EmbedSettings, TaskChoice, choose_task

OPERATIONS: Mapping[str, Literal["document", "query"]] = {"passage": "document", "query": "query"}
"""Each `input_type` of Pinecone, and the operation whose task it means."""

TRUNCATE = {"END": True, "NONE": False}


@dataclass(frozen=True)
class EmbedParameters:
    """What `parameters` may hold: Pinecone's three names, and two more, `task` and `late_chunking`.

    Args:
        input_type: "passage" (also where it is left out) or "query", which chooses the task.
        truncate: "END" cuts texts that are too long, "NONE" refuses them.
        dimension: The length of the vectors; None is the embedder's own.
        task: One of the five tasks, or None for the bare model, instead of `input_type`.
        late_chunking: The inputs are consecutive chunks of one document and share its context.

    Raises:
        ValueError: A value is not one of these, or two of them contradict each other.
        TypeError: `late_chunking` is not a bool.
    """

    input_type: str | None = None
    truncate: str = "END"
    dimension: int | None = None
    task: TaskChoice = "auto"
    late_chunking: bool = False

    def __post_init__(self) -> None:
        if self.input_type not in (None, *OPERATIONS):
            raise ValueError(f"input_type is {self.input_type!r}: use 'passage' or 'query'")
        if self.truncate not in TRUNCATE:
            raise ValueError(f"truncate is {self.truncate!r}: use 'END' or 'NONE'")
        if self.task != "auto" and self.input_type is not None:
            raise ValueError(f"input_type {self.input_type!r} and task {self.task!r} both choose the adapter: give one of them")
        check_flag("late_chunking", self.late_chunking)
        if self.late_chunking and self.input_type == "query":
            raise ValueError("late_chunking joins the chunks of a document, but input_type is 'query': leave one of them out")

    @classmethod
    def read(cls, parameters: Mapping[str, Any] | None) -> Self:
        """Checked parameters; an unknown name is a ValueError that lists the known ones."""
        known = [field.name for field in fields(cls)]
        if unknown := [name for name in parameters or {} if name not in known]:
            raise ValueError(f"unknown parameter {unknown[0]!r}: the parameters are {', '.join(known)}")
        return cls(**(parameters or {}))

    def encode_options(self, settings: EmbedSettings) -> EncodeOptions:
        """The options of `Encoder.encode` that these mean, where `settings` are the embedder's own."""
        task = choose_task(self.task, settings.task(OPERATIONS[self.input_type or "passage"]))
        dimensions = settings.dimensions if self.dimension is None else self.dimension
        return {"task": task, "dimensions": dimensions, "truncate": TRUNCATE[self.truncate]}
