"""The text of a source from the chunks that a splitter made of it, and where each of them lies in that text.

An offset (`split_idx_start`) is a hint: it counts only where the text there is the chunk's. Knows no models and no grouping.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from haystack import Document

from taskvec.integration import Span

SourceId = str | int


@dataclass(frozen=True)
class SplitChunk:
    """A Document as part of a source.

    Attributes:
        document: The Document.
        order: Its place among the chunks of its root, one number for each time that it was split.
        rows: Where its embedding goes: nowhere for a text that only gives context, to several rows for Documents that came twice.
    """

    document: Document
    order: tuple[int, ...]
    rows: list[int]

    @property
    def content(self) -> str:
        """The text."""
        return self.document.content or ""

    @property
    def source(self) -> SourceId | None:
        """The id of the text that it was split from; None where it was not split."""
        return source_id(self.document)

    @property
    def number(self) -> int | None:
        """Which chunk of its source it is."""
        return _count(self.document, "split_id")

    @property
    def offset(self) -> int | None:
        """The character of its source that it says it begins at."""
        return _count(self.document, "split_idx_start")


def source_id(document: Document) -> SourceId | None:
    """The id of the Document that a splitter made this one of; None where there is none."""
    source = document.meta.get("source_id")
    return source if isinstance(source, str | int) and source != "" else None


def _count(document: Document, name: str) -> int | None:
    value = document.meta.get(name)
    return value if isinstance(value, int) and value >= 0 else None


@dataclass
class SourceFrame:
    """Where a source lies in the stitched text, and which of its chunks was placed last.

    Attributes:
        origin: Where its first character is, or would be.
        stop: Its end, where all of it is there; None where it grows by the chunks that come.
        last: The span of the chunk that was placed last.
        number: The number of that chunk.
    """

    origin: int
    stop: int | None = None
    last: Span = (-1, -1)
    number: int | None = None


@dataclass
class Stitcher:
    """A text that grows by one chunk after another, in their order.

    Attributes:
        text: The text so far.
        misplaced: How many offsets led nowhere.
    """

    text: str = ""
    misplaced: int = 0
    _frames: dict[SourceId | None, SourceFrame] = field(default_factory=dict)

    def add(self, chunk: SplitChunk) -> Span:
        """Where the chunk lies: in what is there already, overlapping its end, or appended to it."""
        frame = self._frames.setdefault(chunk.source, SourceFrame(len(self.text) - (chunk.offset or 0)))
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
        self._frames[chunk.document.id] = SourceFrame(*span, last=(start - 1, start))
        return span

    def _find(self, chunk: SplitChunk, frame: SourceFrame) -> int | None:
        """Where the chunk's own text is: at its offset, or else in a source that is known, after the chunk before it."""
        start = self._find_at_offset(chunk, frame)
        if start is not None or frame.stop is None:
            return start
        for begin in (frame.last[1], frame.last[0] + 1):
            if (start := self.text.find(chunk.content, begin, frame.stop)) >= 0:
                return start
        return None

    def _find_at_offset(self, chunk: SplitChunk, frame: SourceFrame) -> int | None:
        if chunk.offset is None:
            return None
        start, size = frame.origin + chunk.offset, len(chunk.content)
        if not 0 <= start <= len(self.text):
            return None
        if (start, start + size) <= frame.last:  # offsets of a MarkdownHeaderSplitter begin anew in every section
            return None
        there = self.text[start : start + size]
        is_whole = frame.stop is None or len(there) == size
        return start if is_whole and chunk.content.startswith(there) else None

    def _is_misplaced(self, chunk: SplitChunk, frame: SourceFrame) -> bool:
        """Whether a chunk that was not found should have been: it neither starts a section nor follows a chunk left out."""
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


def stitch(chunks: Sequence[SplitChunk]) -> tuple[str, list[Span], int]:
    """Make one text of chunks.

    Args:
        chunks: Chunks that share a root, in the order of that text.

    Returns:
        The text, the span of each chunk in it, and how many chunks were appended because they were not where they say.
    """
    stitcher = Stitcher()
    spans = [stitcher.add(chunk) for chunk in chunks]
    return stitcher.text, spans, stitcher.misplaced
