"""From checked inputs to token sequences: truncates texts, lays windows over documents, and counts what both cost.

Knows token ids, not how they are run; `Pipeline` runs them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from taskvec.inputs import Item
from taskvec.late_chunking import document_sequences
from taskvec.options import EncodeSettings, Usage
from taskvec.packing import TokenSequence
from taskvec.tokenizer import TextTokenizer


class TokenizedBlock(NamedTuple):
    """Tokenized items: the sequences to run, the number of output rows they fill, what they cost.

    `failure` is the error of the first item that cannot be used; the block holds the items before it.
    """

    sequences: list[TokenSequence]
    rows: int
    usage: Usage
    failure: Exception | None = None


class BlockTokenizer:
    """Tokenizes a block of items at a time.

    Args:
        tokenizer: The checkpoint's tokenizer.
        max_tokens: The context of the model in tokens, special tokens and instruction included.
    """

    def __init__(self, tokenizer: TextTokenizer, max_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens

    def tokenize_texts(self, items: Sequence[Item], settings: EncodeSettings) -> TokenizedBlock:
        """One sequence and one row for each text; with `truncate=False` a text beyond the context is the block's failure."""
        usage = Usage()
        sequences: list[TokenSequence] = []
        encoded = self._tokenizer.encode([item.text for item in items], settings.instruction)
        for item, ids in zip(items, encoded, strict=True):
            if len(ids) > self._max_tokens:
                if not settings.truncate:
                    return TokenizedBlock(sequences, len(sequences), usage, self._too_long(item, len(ids)))
                ids = np.concatenate((ids[: self._max_tokens - 1], ids[-1:]))
                usage.truncated += 1
            usage.texts += 1
            usage.tokens += len(ids)
            sequences.append(TokenSequence.whole(ids, len(sequences)))
        return TokenizedBlock(sequences, len(sequences), usage)

    def tokenize_documents(self, items: Sequence[Item], settings: EncodeSettings) -> TokenizedBlock:
        """The windows of each document, and one row for each of its spans; documents without spans are skipped."""
        items = [item for item in items if item.spans]
        usage = Usage(texts=len(items))
        block: list[TokenSequence] = []
        rows = 0
        documents = self._tokenizer.encode_documents([item.text for item in items], settings.instruction)
        for item, document in zip(items, documents, strict=True):
            sequences = document_sequences(document, item.spans, rows, self._max_tokens)
            usage.tokens += sum(len(sequence.ids) for sequence in sequences)
            usage.windows += len(sequences) if len(document.ids) > self._max_tokens else 0
            rows += len(item.spans)
            block += sequences
        return TokenizedBlock(block, rows, usage)

    def _too_long(self, item: Item, tokens: int) -> ValueError:
        return ValueError(
            f"text {item.position} has {tokens} tokens, instruction included, but the limit is {self._max_tokens}: "
            "shorten it, pass truncate=True, or split it and use late chunking"
        )
