"""Splitting texts that came without chunks: where they are longer than asked, at paragraphs, sentences or words.

semchunk finds the places, the encoder's own tokenizer counts. Nothing of a text is lost but the blanks between chunks.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import cast

from semchunk.semchunk import chunk

from taskvec import Encoder
from taskvec.integration import Span
from taskvec_integrations.defaults import MIN_CHUNK_TOKENS

MAX_THREADS = 8  # counting tokens is most of the work of comparing, and is done outside Python's lock


def check_chunk_tokens(chunk_tokens: int | None) -> int | None:
    """Check the setting `chunk_tokens`: a whole number from `MIN_CHUNK_TOKENS` on, or None.

    Raises:
        TypeError: It is neither a whole number nor None.
        ValueError: It is too small.
    """
    if chunk_tokens is not None and (not isinstance(chunk_tokens, int) or isinstance(chunk_tokens, bool)):
        raise TypeError(f"chunk_tokens is {chunk_tokens!r}: a whole number or None was expected")
    if chunk_tokens is not None and chunk_tokens < MIN_CHUNK_TOKENS:
        raise ValueError(f"chunk_tokens is {chunk_tokens}: use at least {MIN_CHUNK_TOKENS}, or None to keep texts whole")
    return chunk_tokens


def split(texts: Sequence[str], encoder: Encoder, max_tokens: int | None) -> list[list[Span]]:
    """Split texts that are too long.

    Args:
        texts: The texts.
        encoder: Its tokenizer counts.
        max_tokens: The most tokens of a chunk, `<s>` and `</s>` included; None keeps every text whole.

    Returns:
        For each text the character spans of its chunks. Only a chunk that cannot be split has more tokens than `max_tokens`.
    """
    if max_tokens is None:
        return [[(0, len(text))] for text in texts]
    candidates = [text for text in texts if len(text) > max_tokens]  # tokens are hardly ever more than characters
    tokens = dict(zip(candidates, encoder.count_tokens(candidates), strict=True))
    long = [text for text in candidates if tokens[text] > max_tokens]
    with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1), thread_name_prefix="taskvec-split") as executor:
        spans = dict(zip(long, executor.map(lambda text: _split(text, encoder, max_tokens), long), strict=True))
    return [spans.get(text) or [(0, len(text))] for text in texts]


def _split(text: str, encoder: Encoder, max_tokens: int) -> list[Span]:
    def count(part: str) -> int:
        return encoder.count_tokens(part)[0]

    # Without memoize=False semchunk would keep every part it ever counted, in a global cache.
    _, spans = chunk(text, max_tokens, count, offsets=True, memoize=False)
    return cast(list[Span], spans) or [(0, len(text))]
