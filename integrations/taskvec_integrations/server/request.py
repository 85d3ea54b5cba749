"""One request of any dialect in the encoder's words, and how its task is found."""

from collections.abc import Sequence
from dataclasses import dataclass

from taskvec import Task
from taskvec_integrations.server.model_names import task_of_alias

BARE_MODEL = "none"
"""How a request names the bare model, without adapter and instruction."""
FORMATS = {"float": "float32", "base64": "base64", "binary": "binary", "ubinary": "ubinary"}
"""The formats of vectors that a request may name, each with the precision it stands for."""


@dataclass(frozen=True)
class EmbedRequest:
    """What a client asks for, whatever dialect it speaks.

    Attributes:
        texts: The texts to embed.
        model: The model name in the request, None where the dialect has none.
        task: The name of a task, BARE_MODEL, or None where the request names no task.
        default_task: The default task of its dialect, used instead of the server's.
        dimensions: The length of the vectors, None for the model's width.
        late_chunking: Whether the texts are the chunks of one document.
        windows: Whether late chunking may go beyond the context.
        truncate: Whether texts beyond the context are cut.
        normalize: Whether vectors have unit length.
        formats: Names of FORMATS, at least one.
    """

    texts: list[str]
    model: str | None = None
    task: str | None = None
    default_task: str | None = None
    dimensions: int | None = None
    late_chunking: bool = False
    windows: bool = False
    truncate: bool = False
    normalize: bool = True
    formats: tuple[str, ...] = ("float",)


@dataclass(frozen=True)
class TaskChooser:
    """Finds the task of a request: in its task field, its model's alias, its path, its texts' instruction, or the default."""

    served: Sequence[str]
    default_task: str
    recognize_instructions: bool = False

    def choose(self, request: EmbedRequest, path_task: Task | None = None) -> tuple[Task | None, list[str]]:
        """Choose the task and the texts to encode with it.

        Args:
            request: The request.
            path_task: The task that its path stands for.

        Returns:
            The task, None for the bare model, and the texts, without the instruction where that chose the task.

        Raises:
            ValueError: Two choices disagree, or the task is unknown.
            UnknownModelError: The model is not served.
        """
        alias = task_of_alias(request.model, self.served) if request.model is not None else None
        choices = {"task": request.task, "the model name": alias, "the path": path_task}
        tasks = {source: task for source, task in choices.items() if task is not None}
        if len(set(tasks.values())) > 1:
            listed = " and ".join(f"{source} says {str(task)!r}" for source, task in tasks.items())
            raise ValueError(f"{listed}: choose the task once")
        if tasks:
            return parse_task(next(iter(tasks.values()))), request.texts
        for task in Task if self.recognize_instructions else ():
            if task.instruction and all(text.startswith(task.instruction) for text in request.texts):
                return task, [text[len(task.instruction) :] for text in request.texts]
        return parse_task(request.default_task or self.default_task), request.texts


def parse_task(name: str) -> Task | None:
    """The task of a name, None for BARE_MODEL; ValueError for an unknown name."""
    if name == BARE_MODEL:
        return None
    try:
        return Task(name)
    except ValueError:
        raise ValueError(f"unknown task {name!r}: use one of {', '.join(Task)}, or {BARE_MODEL!r} for the bare model") from None
