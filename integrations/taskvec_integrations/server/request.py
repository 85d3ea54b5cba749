"""One request of any dialect in the encoder's words, and how its task is found."""

from collections.abc import Sequence
from dataclasses import dataclass

from taskvec import Task
from taskvec_integrations.server.model_names import read_name

BARE = "none"
"""How a request names the bare model, without adapter and instruction."""
FORMATS = {"float": "float32", "base64": "base64", "binary": "binary", "ubinary": "ubinary"}
"""What a request may call the form of its vectors, and the precision that it is."""


@dataclass(frozen=True)
class Call:
    """What a request wants. task: a name, BARE, or None where it names none; default: of its dialect, instead of the server's.

    formats: names of FORMATS, one at least. windows: late chunking may go beyond the context. model: the name it asked for.
    """

    texts: list[str]
    model: str | None = None
    task: str | None = None
    default: str | None = None
    dimensions: int | None = None
    late_chunking: bool = False
    windows: bool = False
    truncate: bool = False
    normalize: bool = True
    formats: tuple[str, ...] = ("float",)


@dataclass(frozen=True)
class TaskChooser:
    """Finds the task of a call: its own, its model name's alias, its path's prefix, its texts' instruction, the default."""

    served: Sequence[str]
    default: str
    recognise: bool = False

    def __call__(self, call: Call, prefix: Task | None = None) -> tuple[Task | None, list[str]]:
        """The task (None is the bare model) and the texts to encode with it; ValueError where two choices disagree."""
        alias = read_name(call.model, self.served) if call.model is not None else None
        choices = {"task": call.task, "the model name": alias, "the path": prefix}
        made = {source: task for source, task in choices.items() if task is not None}
        if len(set(made.values())) > 1:
            listed = " and ".join(f"{source} says {str(task)!r}" for source, task in made.items())
            raise ValueError(f"{listed}: choose the task once")
        if made:
            return parse_task(next(iter(made.values()))), call.texts
        for task in Task if self.recognise else ():
            if task.instruction and all(text.startswith(task.instruction) for text in call.texts):
                return task, [text[len(task.instruction) :] for text in call.texts]
        return parse_task(call.default or self.default), call.texts


def parse_task(name: str) -> Task | None:
    """The task of a name, None for BARE; ValueError for an unknown one."""
    if name == BARE:
        return None
    try:
        return Task(name)
    except ValueError:
        raise ValueError(f"unknown task {name!r}: use one of {', '.join(Task)}, or {BARE!r} for the bare model") from None
