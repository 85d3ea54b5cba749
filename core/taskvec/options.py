"""The options of the encode methods: their names and types once, and their checked values."""

from dataclasses import dataclass
from typing import TypedDict

from taskvec.progress import Progress
from taskvec.tasks import Task


@dataclass
class Usage:
    """What one or more calls cost; pass `usage=Usage()` to a call and read it afterwards. Calls add to it."""

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


def check_dimensions(dimensions: object, width: int) -> int:
    """`dimensions` or the full width; not a whole number is a TypeError, out of 1..width a ValueError with both."""
    if dimensions is None:
        return width
    if isinstance(dimensions, bool) or not hasattr(dimensions, "__index__"):
        raise TypeError(f"dimensions is {dimensions!r}, a whole number from 1 to {width} was expected")
    number = int(dimensions.__index__())
    if not 1 <= number <= width:
        raise ValueError(f"dimensions is {number}, this model has vectors of {width}: use 1 to {width}")
    return number
