"""Late chunking: one encoding of a document, pooled per character span; windows where it is longer than the context.

Source: Günther et al. 2024, "Late Chunking", https://arxiv.org/abs/2409.04701; windows and span rules are ours (README,
"Late chunking"). Knows token positions, nothing of models.
"""

import operator
from collections.abc import Iterable, Sequence

import numpy as np

from taskvec.packing import IntArray, Pool, TokenSequence
from taskvec.tokenizer import TokenizedDocument

Span = tuple[int, int]

# A window overlaps the one before by this part of the context (1/4): context for the first span that is new in it.
OVERLAP_DIVISOR = 4
# An end of a window may move by this part of it (1/8) to the end of a span: chunks up to a thousand tokens are never split.
SNAP_DIVISOR = 8


def check_spans(spans: Iterable[Sequence[int]], text: str, where: str) -> list[Span]:
    """Check character spans of a text.

    Args:
        spans: Pairs (start, stop), of any type that holds whole numbers.
        text: The text they are in.
        where: What the text is called in error messages.

    Returns:
        The spans as tuples of int.

    Raises:
        ValueError: A span is not such a pair, is empty, or ends outside the text. The message begins with `where`.
    """
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
    """Join the chunks of a document by spaces.

    Args:
        chunks: Texts that are not empty.
        where: What error messages begin with.

    Returns:
        The joined text, and the character span of each chunk.

    Raises:
        ValueError: A chunk is empty.
    """
    spans = []
    start = 0
    for index, chunk in enumerate(chunks):
        if not chunk:
            raise ValueError(f"{where}chunk {index} is empty: leave it out, because an empty chunk has no vector")
        spans.append((start, start + len(chunk)))
        start += len(chunk) + 1
    return " ".join(chunks), spans


def document_sequences(
    document: TokenizedDocument, spans: Sequence[Span], first_row: int, max_tokens: int
) -> list[TokenSequence]:
    """The windows of a document with the pools of its spans.

    The span with the smallest start also pools ``<s>`` and the instruction, the one with the largest end ``</s>`` (of the
    window it is taken from). Spans that share that start or end do the same.

    Args:
        document: The tokenized document.
        spans: Its character spans.
        first_row: Span i is pooled into row `first_row` + i.
        max_tokens: The most tokens in a window, special tokens and instruction included.

    Returns:
        One sequence for each window that a span is pooled from.

    Raises:
        ValueError: The instruction leaves no room for a text.
    """
    if not spans:
        return []
    capacity = max_tokens - document.prefix - 1
    if capacity < 1:
        raise ValueError(f"the instruction leaves no room: it takes {document.prefix - 1} of {max_tokens} tokens, shorten it")
    ranges = [token_range(document, span) for span in spans]
    pieces = [(row, piece) for row, span in enumerate(ranges) for piece in split_range(span, capacity)]
    windows = lay_windows([piece for _, piece in pieces], document.length, capacity)
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
    document: TokenizedDocument, windows: list[Span], taken: list[list[tuple[int, IntArray]]], first_row: int
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


def token_range(document: TokenizedDocument, span: Span) -> Span:
    """Content tokens whose first character lies in the span; without one, the token that covers or precedes it."""
    start, stop = (int(position) for position in np.searchsorted(document.starts, span))
    if start < stop or not document.length:
        return start, stop
    nearest = max(start - 1, 0)
    return nearest, nearest + 1


def split_range(tokens: Span, capacity: int) -> list[Span]:
    """A token range as ranges that fit into a window; only a range longer than a window is split."""
    start, stop = tokens
    if stop - start <= capacity:
        return [tokens]
    step = max(1, capacity - capacity // OVERLAP_DIVISOR)
    return [(first, min(first + step, stop)) for first in range(start, stop, step)]


def lay_windows(pieces: Sequence[Span], length: int, capacity: int) -> list[Span]:
    """Overlapping token ranges of at most `capacity` such that each piece lies whole in at least one.

    A window is laid around the first piece that no earlier one holds, with the overlap before it; its ends move inwards to the
    end of a piece where one is near. Text that is no piece's context is not read.
    """
    if length <= capacity:
        return [(0, length)]
    bounds = np.unique([bound for piece in pieces for bound in piece])
    waiting = sorted(pieces, key=lambda piece: (piece[0], -piece[1]))
    windows: list[Span] = []
    while waiting:
        first, last = waiting[0]
        start = max(0, first - capacity // OVERLAP_DIVISOR, last - capacity)
        start = _nearest(bounds, start, min(first, start + capacity // SNAP_DIVISOR)) if start else 0
        stop = start + capacity
        stop = -_nearest(-bounds[::-1], -stop, -stop + capacity // SNAP_DIVISOR) if stop < length else length
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
