"""The text of a source from the chunks a splitter made of it, and where each of them lies in it.

An offset (`split_idx_start`) is a hint: it counts only where the text there is the chunk's. Knows no models and no grouping.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from haystack import Document

from taskvec.integration import Span

Key = str | int


@dataclass(frozen=True)
class Chunk:
    """A Document as part of a source.

    order: its place among the chunks of its root, a tuple because chunks may be split again. rows: where its embedding goes;
    none for a text that only gives context, several for Documents that came twice.
    """

    document: Document
    order: tuple[int, ...]
    rows: list[int]

    @property
    def content(self) -> str:
        """The text."""
        return self.document.content or ""

    @property
    def source(self) -> Key | None:
        """The id of the text that it was split from; None where it was not split."""
        return source_of(self.document)

    @property
    def number(self) -> int | None:
        """Which chunk of its source it is."""
        return _count(self.document, "split_id")

    @property
    def offset(self) -> int | None:
        """Where in its source it says it begins."""
        return _count(self.document, "split_idx_start")


def source_of(document: Document) -> Key | None:
    """The id of the Document that a splitter made this one of."""
    source = document.meta.get("source_id")
    return source if isinstance(source, str | int) and source != "" else None


def _count(document: Document, name: str) -> int | None:
    value = document.meta.get(name)
    return value if isinstance(value, int) and value >= 0 else None


@dataclass
class Frame:
    """Where a source lies in the text, and which of its chunks was placed last.

    origin: of its first character. stop: its end, where all of it is there; None where it grows by the chunks that come.
    """

    origin: int
    stop: int | None = None
    last: Span = (-1, -1)
    number: int | None = None


@dataclass
class Stitching:
    """A text that grows by one chunk after another, in their order. `misplaced` counts offsets that led nowhere."""

    text: str = ""
    misplaced: int = 0
    _frames: dict[Key | None, Frame] = field(default_factory=dict)

    def add(self, chunk: Chunk) -> Span:
        """Where the chunk lies: in what is there already, overlapping its end, or appended to it."""
        frame = self._frames.setdefault(chunk.source, Frame(len(self.text) - (chunk.offset or 0)))
        start = self._find(chunk, frame)
        if start is None:
            self.misplaced += self._is_misplaced(chunk, frame)
            start = self._append(chunk.content)
        else:
            self.text += chunk.content[len(self.text) - start :]  # nothing, where all of it is there
        span = (start, start + len(chunk.content))
        if frame.stop is None or span[1] <= frame.stop:
            frame.last, frame.number = span, chunk.number
            frame.origin = start - chunk.offset if chunk.offset is not None else frame.origin
        self._frames[chunk.document.id] = Frame(*span, last=(start - 1, start))
        return span

    def _find(self, chunk: Chunk, frame: Frame) -> int | None:
        """Where the chunk's own text is: at its offset, or else in a source that is known, after the chunk before it."""
        size = len(chunk.content)
        if chunk.offset is not None:
            start = frame.origin + chunk.offset
            there = self.text[start : start + size] if 0 <= start <= len(self.text) else None
            is_new = (start, start + size) > frame.last  # offsets of a MarkdownHeaderSplitter begin anew in every section
            if there is not None and is_new and chunk.content.startswith(there) and (frame.stop is None or len(there) == size):
                return start
        if frame.stop is not None:
            for begin in (frame.last[1], frame.last[0] + 1):
                if (start := self.text.find(chunk.content, begin, frame.stop)) >= 0:
                    return start
        return None

    def _is_misplaced(self, chunk: Chunk, frame: Frame) -> bool:
        """Whether a chunk that was not found should have been: it is none that starts a section or follows one left out."""
        if frame.stop is not None:
            return True
        if not chunk.offset:
            return False
        is_gap = frame.origin + chunk.offset > len(self.text)
        return not is_gap or (chunk.number is not None and frame.number is not None and chunk.number == frame.number + 1)

    def _append(self, content: str) -> int:
        is_joined = not self.text or self.text[-1].isspace() or content[:1].isspace()
        self.text += "" if is_joined else " "
        start = len(self.text)
        self.text += content
        return start


def stitch(chunks: Sequence[Chunk]) -> tuple[str, list[Span], int]:
    """The text of chunks that share a root, the span of each, and how many were appended because they were not where they say."""
    stitching = Stitching()
    spans = [stitching.add(chunk) for chunk in chunks]
    return stitching.text, spans, stitching.misplaced
