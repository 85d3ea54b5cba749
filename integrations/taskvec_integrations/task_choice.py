"""Which task an integration uses: passage for documents and query for queries, unless another one was asked for."""

from dataclasses import dataclass
from typing import Literal

from taskvec import Task
from taskvec.integration import DOCUMENT_TASK, QUERY_TASK, check_flag

TaskChoice = Task | str | None
"""A task, its name, "auto" for the operation's own, None for the bare model."""


def choose_task(task: TaskChoice, operation: Task | None) -> Task | None:
    """The task to use.

    Args:
        task: What was asked for.
        operation: The task for "auto".

    Raises:
        ValueError: There is no task of this name; the message lists the five.
    """
    if task == "auto":
        return operation
    return None if task is None else Task(task)


@dataclass(frozen=True)
class EmbedSettings:
    """Settings of an integration, given once, so that indexing and searching cannot disagree.

    Args:
        document_task: The task for documents; "auto" is retrieval.passage, None the bare model.
        query_task: The task for queries; "auto" is retrieval.query, None the bare model.
        dimensions: The length of the vectors; None is the model's full width.
        late_chunking: Whether the chunks of a document share its context.

    Raises:
        ValueError: There is no task of this name.
        TypeError: `late_chunking` is neither True nor False.
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
