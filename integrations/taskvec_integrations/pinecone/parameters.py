"""The `parameters` of an `embed` call: their names, what they mean to the encoder, and what is wrong with others."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

from taskvec import EncodeOptions
from taskvec.integration import check_flag
from taskvec_integrations.task_choice import EmbedSettings, TaskChoice, choose_task

OPERATIONS: Mapping[str, Literal["document", "query"]] = {"passage": "document", "query": "query"}
TRUNCATE = {"END": True, "NONE": False}


@dataclass(frozen=True)
class EmbedParameters:
    """What `parameters` may hold: Pinecone's names, and two more.

    input_type: "passage" (also without one) or "query", which choose the task. truncate: "END" cuts texts that are too long,
    "NONE" refuses them. dimension: None is the embedder's own. task: one of the five, or None for the bare model, instead of
    input_type. late_chunking: the inputs are the consecutive chunks of one document and share its context.
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
            raise ValueError("late_chunking joins the chunks of a document, a query has none: leave it out")

    @classmethod
    def read(cls, given: Mapping[str, Any] | None) -> Self:
        """Checked parameters; an unknown name is a ValueError that lists the known ones."""
        known = [field.name for field in fields(cls)]
        if unknown := [name for name in given or {} if name not in known]:
            raise ValueError(f"unknown parameter {unknown[0]!r}: the parameters are {', '.join(known)}")
        return cls(**(given or {}))

    def options(self, settings: EmbedSettings) -> EncodeOptions:
        """What they mean to an encoder, under an adapter's settings."""
        task = choose_task(self.task, settings.task(OPERATIONS[self.input_type or "passage"]))
        dimensions = settings.dimensions if self.dimension is None else self.dimension
        return {"task": task, "dimensions": dimensions, "truncate": TRUNCATE[self.truncate]}
