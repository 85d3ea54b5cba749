"""The text that chunks were cut from, as far as chunks and their offsets tell it. Knows strings, nothing of LlamaIndex."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from taskvec.integration import Span


class PlacedChunk(NamedTuple):
    """A part of a document, not empty, and the character that it starts at; None where that is not known."""

    text: str
    start: int | None


class StitchedText(NamedTuple):
    """A text, the span of each chunk in it, and whether the offsets agreed with the chunks' texts."""

    text: str
    spans: list[Span]
    offsets_fit: bool = True


def stitch(chunks: Sequence[PlacedChunk]) -> StitchedText:
    """Lay one or more chunks over one another by their offsets: overlaps share their characters, a gap becomes a blank.

    Offsets that cannot all be of one text are taken section by section, because a splitter that ran on the parts of a document
    counts from zero in each. Sections are joined by a blank, and so are the chunks of one in which offsets contradict texts.

    Args:
        chunks: The chunks of one document, in the order given.

    Returns:
        The text and the spans, in the order of `chunks`.
    """
    if whole := _overlay(chunks):
        return whole
    sections = _sections(chunks)
    overlaid = [_overlay(section) for section in sections]
    parts = [part or _join(map(_single, section)) for part, section in zip(overlaid, sections, strict=True)]
    return _join(parts)._replace(offsets_fit=all(overlaid))


def _overlay(chunks: Sequence[PlacedChunk]) -> StitchedText | None:
    """The text that has every chunk where its offset says, None where there is no such text."""
    placed = [(chunk.start, row, chunk.text) for row, chunk in enumerate(chunks) if chunk.start is not None]
    if len(placed) < len(chunks):
        return None
    text, spans = "", [(0, 0)] * len(chunks)
    skipped = min(placed)[0]  # characters of the document that the text lacks, up to where the next chunk starts
    for offset, row, content in sorted(placed):
        if offset - skipped > len(text):
            text += " "
            skipped = offset - len(text)
        start = offset - skipped
        overlap = text[start : start + len(content)]
        if not content.startswith(overlap):
            return None
        text += content[len(overlap) :]
        spans[row] = (start, start + len(content))
    return StitchedText(text, spans)


def _sections(chunks: Sequence[PlacedChunk]) -> list[list[PlacedChunk]]:
    """Runs of chunks whose offsets grow; a chunk without one is a run by itself."""
    sections: list[list[PlacedChunk]] = []
    last: int | None = None
    for chunk in chunks:
        if last is None or chunk.start is None or chunk.start <= last:
            sections.append([])
        sections[-1].append(chunk._replace(start=chunk.start or 0))
        last = chunk.start
    return sections


def _single(chunk: PlacedChunk) -> StitchedText:
    return StitchedText(chunk.text, [(0, len(chunk.text))])


def _join(parts: Iterable[StitchedText]) -> StitchedText:
    """The parts one after another, with blanks between them."""
    text, spans = "", list[Span]()
    for part in parts:
        text += " " if text else ""
        spans += [(start + len(text), stop + len(text)) for start, stop in part.spans]
        text += part.text
    return StitchedText(text, spans)
