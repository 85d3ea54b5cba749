"""Splitting a text into chunks of a number of tokens, as the encoder counts them."""

from typing import cast

from semchunk.semchunk import chunkerify

from taskvec import Encoder
from taskvec.late_chunking import Span

FRAME = 2  # <s> and </s>, which `count_tokens` counts with every text


def split(text: str, encoder: Encoder, chunk_tokens: int) -> list[Span]:
    """Character spans of at most `chunk_tokens` tokens that end where the text does: between paragraphs, sentences, words."""

    def count(piece: str) -> int:
        return encoder.count_tokens(piece)[0] - FRAME

    # memoize would keep every piece of every text for as long as the process lives.
    chunker = chunkerify(count, chunk_tokens, memoize=False)
    _, spans = cast(tuple[list[str], list[Span]], chunker(text, offsets=True))
    return spans
