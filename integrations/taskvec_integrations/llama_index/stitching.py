"""The text that chunks were cut from, as far as chunks and their offsets tell it. Knows strings, nothing of LlamaIndex."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from taskvec.integration import Span


class Chunk(NamedTuple):
    """A piece of a document, not empty, and where in the document it starts; None where that is not known."""

    text: str
    start: int | None


class Stitched(NamedTuple):
    """A text, the span of each chunk in it, and whether the offsets agreed with the chunks' texts."""

    text: str
    spans: list[Span]
    fits: bool = True


def stitch(chunks: Sequence[Chunk]) -> Stitched:
    """Lay one or more chunks over one another by their offsets: overlaps share their characters, a gap becomes a blank.

    Offsets that cannot all be of one text are taken section by section, because a splitter that ran on the parts of a document
    counts from zero in each. Sections are joined by a blank, and so are the chunks of one in which offsets contradict texts.
    """
    if whole := _overlay(chunks):
        return whole
    sections = _sections(chunks)
    laid = [_overlay(section) for section in sections]
    parts = [part or _joined(map(_alone, section)) for part, section in zip(laid, sections, strict=True)]
    return _joined(parts)._replace(fits=all(laid))


def _overlay(chunks: Sequence[Chunk]) -> Stitched | None:
    """The text that has every chunk where its offset says, None where there is no such text."""
    placed = [(chunk.start, row, chunk.text) for row, chunk in enumerate(chunks) if chunk.start is not None]
    if len(placed) < len(chunks):
        return None
    text, spans = "", [(0, 0)] * len(chunks)
    cut = min(placed)[0]  # characters of the document that the text has not, up to where the next chunk starts
    for place, row, piece in sorted(placed):
        if place - cut > len(text):
            text += " "
            cut = place - len(text)
        start = place - cut
        known = text[start : start + len(piece)]
        if not piece.startswith(known):
            return None
        text += piece[len(known) :]
        spans[row] = (start, start + len(piece))
    return Stitched(text, spans)


def _sections(chunks: Sequence[Chunk]) -> list[list[Chunk]]:
    """Runs of chunks whose offsets grow; a chunk without one is a run of its own."""
    sections: list[list[Chunk]] = []
    last: int | None = None
    for chunk in chunks:
        if last is None or chunk.start is None or chunk.start <= last:
            sections.append([])
        sections[-1].append(chunk._replace(start=chunk.start or 0))
        last = chunk.start
    return sections


def _alone(chunk: Chunk) -> Stitched:
    return Stitched(chunk.text, [(0, len(chunk.text))])


def _joined(parts: Iterable[Stitched]) -> Stitched:
    text, spans = "", list[Span]()
    for part in parts:
        text += " " if text else ""
        spans += [(start + len(text), stop + len(text)) for start, stop in part.spans]
        text += part.text
    return Stitched(text, spans)
