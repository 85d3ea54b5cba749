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

SMALLEST = 8  # <s>, </s> and a few words
THREADS = 8  # counting tokens is most of the diff, and is done outside Python's lock


def check_chunk_tokens(chunk_tokens: int | None) -> int | None:
    """A whole number from 8 on, or None; anything else is an error."""
    if chunk_tokens is not None and (not isinstance(chunk_tokens, int) or isinstance(chunk_tokens, bool)):
        raise TypeError(f"chunk_tokens is {chunk_tokens!r}: a whole number or None was expected")
    if chunk_tokens is not None and chunk_tokens < SMALLEST:
        raise ValueError(f"chunk_tokens is {chunk_tokens}: use at least {SMALLEST}, or None to keep texts whole")
    return chunk_tokens


def split(texts: Sequence[str], encoder: Encoder, max_tokens: int | None) -> list[list[Span]]:
    """The character spans of the chunks of each text, of at most `max_tokens` tokens (`<s>` and `</s>` included) where it can be.

    A text of that length or less is one chunk, and so is every text for None.
    """
    if max_tokens is None:
        return [[(0, len(text))] for text in texts]
    unsure = [text for text in texts if len(text) > max_tokens]  # tokens are hardly ever more than characters
    tokens = dict(zip(unsure, encoder.count_tokens(unsure), strict=True))
    long = [text for text in unsure if tokens[text] > max_tokens]
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1), thread_name_prefix="taskvec-split") as executor:
        spans = dict(zip(long, executor.map(lambda text: _split(text, encoder, max_tokens), long), strict=True))
    return [spans.get(text) or [(0, len(text))] for text in texts]


def _split(text: str, encoder: Encoder, max_tokens: int) -> list[Span]:
    def count(part: str) -> int:
        return encoder.count_tokens(part)[0]

    # Without memoize=False semchunk would keep every part it ever counted, in a global cache.
    _, spans = chunk(text, max_tokens, count, offsets=True, memoize=False)
    return cast(list[Span], spans) or [(0, len(text))]
