"""Text to token ids, with the task's instruction in front, and where each token came from in the text.

Knows tokenizer.json and nothing of models. Uses the fast `tokenizers` library directly: the ids are those of transformers'
fast tokenizer, without importing it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Encoding, Tokenizer

from taskvec.errors import CheckpointError
from taskvec.packing import IntArray

FIX = "use the model's own tokenizer.json"


@dataclass(frozen=True, slots=True)
class TokenizedDocument:
    """A tokenized text with offsets: all ids (n,), of which the first `prefix` are ``<s>`` and instruction, the last ``</s>``.

    `starts` (n - prefix - 1,) is the first character of each content token, never decreasing.
    """

    ids: IntArray
    prefix: int
    starts: IntArray

    @property
    def length(self) -> int:
        """Number of content tokens."""
        return len(self.starts)


class TextTokenizer:
    """The checkpoint's tokenizer; every result starts with ``<s>`` and ends with ``</s>`` (whatever they are called)."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        frame = tokenizer.encode("").ids
        if len(frame) != 2:
            raise CheckpointError(f"this tokenizer adds {len(frame)} special tokens to a text, but two were expected: {FIX}")
        if any(start == 1 for start, _ in tokenizer.encode("a a").offsets):
            raise CheckpointError(f"this tokenizer counts a space to the word after it, so spans would start too early: {FIX}")
        self._tokenizer = tokenizer

    @classmethod
    def from_folder(cls, folder: Path) -> "TextTokenizer":
        """Load ``tokenizer.json`` from a model folder; raises CheckpointError if it is missing or damaged."""
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise CheckpointError(f"{folder} has no tokenizer.json; download the model again")
        try:
            tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except OSError:
            raise
        except Exception as error:  # the library raises a bare Exception for damaged files
            raise CheckpointError(f"{path} is damaged ({error}); download it again") from None
        return cls(tokenizer)

    @property
    def vocab_size(self) -> int:
        """Number of token ids, added tokens included."""
        return int(self._tokenizer.get_vocab_size())

    def encode(self, texts: Sequence[str], instruction: str) -> list[IntArray]:
        """Token ids of instruction + text, uncut, one array for each text."""
        encodings = self._tokenizer.encode_batch_fast([instruction + text for text in texts])
        return [np.array(encoding.ids, dtype=np.int64) for encoding in encodings]

    def encode_documents(self, texts: Sequence[str], instruction: str) -> list[TokenizedDocument]:
        """The same ids as `encode`, with the characters each content token stands for."""
        encodings = self._tokenizer.encode_batch([instruction + text for text in texts])
        return [_document(encoding, len(instruction)) for encoding in encodings]


def _document(encoding: Encoding, instruction: int) -> TokenizedDocument:
    offsets = np.array([start for start, _ in encoding.offsets], dtype=np.int64)[1:-1] - instruction
    # A token that begins in the instruction belongs to it, also when a text without a space before it was merged into it.
    in_text = offsets >= 0
    first = int(in_text.argmax()) if in_text.any() else len(offsets)
    return TokenizedDocument(np.array(encoding.ids, dtype=np.int64), 1 + first, np.maximum.accumulate(offsets[first:]))
