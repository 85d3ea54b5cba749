"""The options of the encode methods: their names and types once, and their checked values."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from taskvec.progress import Progress, check_progress
from taskvec.tasks import Task


@dataclass
class Usage:
    """What calls cost: pass `usage=Usage()` to a call and read it afterwards.

    Calls add to it. It has no lock, so calls that share one have to run one at a time.

    Attributes:
        texts: Texts, or documents of late chunking.
        tokens: Tokens the model read: special tokens, instructions and overlaps of windows included.
        truncated: Texts cut at the context length.
        windows: Windows read for documents longer than the context; 0 if every document fits.
    """

    texts: int = 0
    tokens: int = 0
    truncated: int = 0
    windows: int = 0

    def add(self, other: "Usage") -> None:
        """Add the counts of another usage to these."""
        self.texts += other.texts
        self.tokens += other.tokens
        self.truncated += other.truncated
        self.windows += other.windows


class EncodeOptions(TypedDict, total=False):
    """The keyword options of every encode method; `Encoder.encode` says what they mean."""

    task: Task | str | None
    dimensions: int | None
    instruction: str | None
    normalize: bool
    truncate: bool
    progress: Progress
    usage: Usage | None


@dataclass(frozen=True)
class EncodeSettings:
    """The checked `EncodeOptions` of one call: the task is parsed, what was left out is filled in."""

    task: Task | None
    dimensions: int
    instruction: str
    normalize: bool
    truncate: bool
    progress: Progress
    usage: Usage


def check_names(names: Iterable[str], options: type) -> None:
    """Raise a TypeError that lists the options of a TypedDict if a name is not among them."""
    known = options.__annotations__
    for name in names:
        if name not in known:
            raise TypeError(f"unknown option {name!r}: the options are {', '.join(known)}")


def resolve(
    options: EncodeOptions, default_task: Task | None, width: int, tasks: Sequence[Task], instructions: Mapping[Task, str]
) -> EncodeSettings:
    """Check the options of a call against a model, and fill in what was left out.

    Args:
        options: As the caller passed them.
        default_task: The task if the options name none.
        width: The model's full number of dimensions.
        tasks: The tasks the checkpoint has adapters for.
        instructions: The checkpoint's instruction of each task.

    Returns:
        The options with a value for each.

    Raises:
        TypeError: An option is unknown or has the wrong type.
        ValueError: The task is unknown or has no adapter, or dimensions is out of range.
    """
    check_names(options, EncodeOptions)
    name_or_task = options.get("task", default_task)
    task = None if name_or_task is None else Task(name_or_task)
    if task is not None and task not in tasks:
        known = ", ".join(tasks) or "none"
        raise ValueError(f"this checkpoint has no adapter for {task}: use one of those it has ({known}), or task=None")
    instruction = options.get("instruction")
    if not isinstance(instruction, str | None):
        raise TypeError(f"instruction is {type(instruction).__name__}: a str was expected, or None for the task's own")
    flags = {"normalize": options.get("normalize", True), "truncate": options.get("truncate", True)}
    for name, value in flags.items():
        check_flag(name, value)
    usage = options.get("usage")
    if not isinstance(usage, Usage | None):
        raise TypeError(f"usage is {usage!r}: a Usage() or None was expected")
    return EncodeSettings(
        task=task,
        dimensions=_dimensions(options.get("dimensions"), width),
        instruction=instruction if instruction is not None else instructions[task] if task else "",
        **flags,
        progress=check_progress(options.get("progress", False)),
        usage=Usage() if usage is None else usage,
    )


def check_flag(name: str, value: object) -> None:
    """Raise a TypeError for anything but True or False: 'no' would count as true."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}: True or False was expected")


def check_whole(name: str, value: object, expected: str = "a whole number") -> int:
    """Return a whole number of any type as an int; raise a TypeError for anything else."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} is {value!r}: {expected} was expected")
    return int(value.__index__())


def _dimensions(dimensions: object, width: int) -> int:
    if dimensions is None:
        return width
    number = check_whole("dimensions", dimensions, f"a whole number from 1 to {width}")
    if not 1 <= number <= width:
        raise ValueError(f"dimensions is {number}, but this model's vectors have {width}: use 1 to {width}")
    return number
