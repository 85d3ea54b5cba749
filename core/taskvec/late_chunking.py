"""Late chunking: one encoding of a document, pooled per character span; windows where it is longer than the context.

Source: Günther et al. 2024, "Late Chunking", https://arxiv.org/abs/2409.04701; windows and span rules are ours (README,
"Late chunking"). Knows token positions, nothing of models.
"""

import operator
from collections.abc import Iterable, Sequence

import numpy as np

from taskvec.packing import IntArray, Pool, TokenSequence
from taskvec.tokenizer import Document

Span = tuple[int, int]

# A window has at least a quarter of the context before the first span that is new in it, shared with the window before.
OVERLAP = 4
# Share of a window by which an end may move to fall on the end of a span: chunks up to a thousand tokens are never cut.
SNAP = 8


def check_spans(spans: Iterable[Sequence[int]], text: str, where: str) -> list[Span]:
    """Character spans as (start, stop) pairs inside the text; anything else is a ValueError naming document and span."""
    checked = []
    for index, span in enumerate(spans):
        try:
            start, stop = map(operator.index, span)
        except (TypeError, ValueError):
            raise ValueError(f"{where}, span {index} is {span!r}: a span is a pair of character positions") from None
        if not 0 <= start < stop <= len(text):
            raise ValueError(
                f"{where}, span {index} is ({start}, {stop}): it needs 0 <= start < stop <= {len(text)}, the text's length"
            )
        checked.append((start, stop))
    return checked


def join_chunks(chunks: Sequence[str], where: str) -> tuple[str, list[Span]]:
    """The chunks of a document joined by one space, and the span of each; an empty chunk is a ValueError."""
    spans = []
    start = 0
    for index, chunk in enumerate(chunks):
        if not chunk:
            raise ValueError(f"{where}chunk {index} is empty: leave it out, an empty chunk has no vector of its own")
        spans.append((start, start + len(chunk)))
        start += len(chunk) + 1
    return " ".join(chunks), spans


def document_sequences(document: Document, spans: Sequence[Span], first_row: int, max_tokens: int) -> list[TokenSequence]:
    """The windows of a document with the pools of its spans: span i is pooled into row `first_row` + i.

    The span with the smallest start also pools ``<s>`` and the instruction, the one with the largest end ``</s>`` (of the
    window it is taken from); spans that share that start or end do so alike.
    """
    if not spans:
        return []
    capacity = max_tokens - document.prefix - 1
    if capacity < 1:
        raise ValueError(f"the instruction leaves no room: it takes {document.prefix - 1} of {max_tokens} tokens")
    ranges = [token_range(document, span) for span in spans]
    pieces = [(row, piece) for row, span in enumerate(ranges) for piece in cut(span, capacity)]
    windows = plan_windows([piece for _, piece in pieces], document.length, capacity)
    first, last = min(start for start, _ in spans), max(stop for _, stop in spans)
    taken: list[list[tuple[int, IntArray]]] = [[] for _ in windows]
    for row, (start, stop) in pieces:
        window = best_window(windows, (start, stop))
        offset = document.prefix - windows[window][0]
        tokens = [np.arange(start + offset, stop + offset)]
        if spans[row][0] == first and start == ranges[row][0]:
            tokens.insert(0, np.arange(document.prefix))
        if spans[row][1] == last and stop == ranges[row][1]:
            tokens.append(np.array([windows[window][1] + offset]))
        if not any(map(len, tokens)):  # a text without any token, such as blanks: its frame stands for it
            tokens = [np.arange(document.prefix + 1)]
        taken[window].append((row, np.concatenate(tokens)))
    return _sequences(document, windows, taken, first_row)


def _sequences(
    document: Document, windows: list[Span], taken: list[list[tuple[int, IntArray]]], first_row: int
) -> list[TokenSequence]:
    totals: dict[int, int] = {}
    for row, tokens in (pool for pools in taken for pool in pools):
        totals[row] = totals.get(row, 0) + len(tokens)
    sequences = []
    for (start, stop), pools in zip(windows, taken, strict=True):
        content = document.ids[document.prefix + start : document.prefix + stop]
        ids = np.concatenate((document.ids[: document.prefix], content, document.ids[-1:]))
        weighted = [Pool(first_row + row, tokens, len(tokens) / totals[row]) for row, tokens in pools]
        if weighted:
            sequences.append(TokenSequence(ids, weighted))
    return sequences


def token_range(document: Document, span: Span) -> Span:
    """Content tokens whose first character lies in the span; without one, the token that covers or precedes it."""
    start, stop = (int(position) for position in np.searchsorted(document.starts, span))
    if start < stop or not document.length:
        return start, stop
    nearest = max(start - 1, 0)
    return nearest, nearest + 1


def cut(span: Span, capacity: int) -> list[Span]:
    """A token range as ranges that fit a window; only a range longer than a whole window is cut at all."""
    start, stop = span
    if stop - start <= capacity:
        return [span]
    step = max(1, capacity - capacity // OVERLAP)
    return [(first, min(first + step, stop)) for first in range(start, stop, step)]


def plan_windows(pieces: Sequence[Span], length: int, capacity: int) -> list[Span]:
    """Overlapping token ranges of at most `capacity` such that each piece lies whole in at least one.

    A window is laid around the first piece that no earlier one holds, with the overlap before it; its ends move inwards to the
    end of a piece where one is near. Text that no piece needs as context is not read.
    """
    if length <= capacity:
        return [(0, length)]
    bounds = np.unique([bound for piece in pieces for bound in piece])
    waiting = sorted(pieces, key=lambda piece: (piece[0], -piece[1]))
    windows: list[Span] = []
    while waiting:
        first, last = waiting[0]
        start = max(0, first - capacity // OVERLAP, last - capacity)
        start = _nearest(bounds, start, min(first, start + capacity // SNAP)) if start else 0
        stop = start + capacity
        stop = -_nearest(-bounds[::-1], -stop, -stop + capacity // SNAP) if stop < length else length
        windows.append((start, stop))
        waiting = [piece for piece in waiting if piece[0] < start or piece[1] > stop]
    return windows


def _nearest(bounds: IntArray, wanted: int, limit: int) -> int:
    """The first bound from `wanted` up to `limit`, else `wanted` itself."""
    index = int(np.searchsorted(bounds, wanted))
    return int(bounds[index]) if index < len(bounds) and bounds[index] <= limit else wanted


def best_window(windows: Sequence[Span], piece: Span) -> int:
    """The window that gives a piece the most context on its shorter side."""
    starts, stops = np.array(windows).T
    return int(np.argmax(np.minimum(piece[0] - starts, stops - piece[1])))
