"""The options of the encode methods: their names and types once, and their checked values."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from taskvec.progress import Progress, check_progress
from taskvec.tasks import Task


@dataclass
class Usage:
    """What calls cost; pass `usage=Usage()` to one and read it afterwards. Calls add to it, one at a time (it has no lock)."""

    texts: int = 0
    """Texts, or documents of late chunking."""
    tokens: int = 0
    """Tokens the model read: special tokens, instructions and overlaps of windows included."""
    truncated: int = 0
    """Texts cut at the context length."""
    windows: int = 0
    """Windows read for documents longer than the context; 0 where every document fitted."""

    def add(self, other: "Usage") -> None:
        """Count what another usage counted, too."""
        self.texts += other.texts
        self.tokens += other.tokens
        self.truncated += other.truncated
        self.windows += other.windows


class EncodeOptions(TypedDict, total=False):
    """Keyword options that every encode method takes; see `Encoder.encode` for what they mean."""

    task: Task | str | None
    dimensions: int | None
    instruction: str | None
    normalize: bool
    truncate: bool
    progress: Progress
    usage: Usage | None


@dataclass(frozen=True)
class Settings:
    """Checked options of one call: the task is parsed, dimensions and instruction are filled in."""

    task: Task | None
    dimensions: int
    instruction: str
    normalize: bool
    truncate: bool
    progress: Progress
    usage: Usage


def check_names(given: Iterable[str], options: type) -> None:
    """Names that are not among the options of a TypedDict are a TypeError that lists those."""
    known = options.__annotations__
    for name in given:
        if name not in known:
            raise TypeError(f"unknown option {name!r}: the options are {', '.join(known)}")


def resolve(
    options: EncodeOptions, default_task: Task | None, width: int, tasks: Sequence[Task], instructions: Mapping[Task, str]
) -> Settings:
    """Check the options of a call against a model's width, tasks and instructions, and fill in what was left out."""
    check_names(options, EncodeOptions)
    named = options.get("task", default_task)
    task = None if named is None else Task(named)
    if task is not None and task not in tasks:
        known = ", ".join(tasks) or "none"
        raise ValueError(f"this checkpoint has no adapter for {task}: it has {known}; task=None runs the bare model")
    instruction = options.get("instruction")
    if not isinstance(instruction, str | None):
        raise TypeError(f"instruction is {type(instruction).__name__}: a str, or None for the task's own, was expected")
    flags = {"normalize": options.get("normalize", True), "truncate": options.get("truncate", True)}
    for name, value in flags.items():
        check_flag(name, value)
    usage = options.get("usage")
    if not isinstance(usage, Usage | None):
        raise TypeError(f"usage is {usage!r}: a Usage() or None was expected")
    return Settings(
        task=task,
        dimensions=_dimensions(options.get("dimensions"), width),
        instruction=instruction if instruction is not None else instructions[task] if task else "",
        **flags,
        progress=check_progress(options.get("progress", False)),
        usage=Usage() if usage is None else usage,
    )


def check_flag(name: str, value: object) -> None:
    """Anything but True or False is a TypeError: 'no' would count as yes."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}: True or False was expected")


def check_whole(name: str, value: object, expected: str = "a whole number") -> int:
    """A whole number of any type as an int; anything else is a TypeError."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} is {value!r}: {expected} was expected")
    return int(value.__index__())


def _dimensions(dimensions: object, width: int) -> int:
    if dimensions is None:
        return width
    number = check_whole("dimensions", dimensions, f"a whole number from 1 to {width}")
    if not 1 <= number <= width:
        raise ValueError(f"dimensions is {number}, this model has vectors of {width}: use 1 to {width}")
    return number
