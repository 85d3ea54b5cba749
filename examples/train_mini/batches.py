"""What one training step sees: texts alone, pairs, or long documents in chunks, each drawn by a seeded generator.

`Texts` prepares the corpus once. Every batch depends on its own seed only, so a run can stop at any step and go on there.
"""

import random
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from corpus import Document, Section
from model import Item

from taskvec.tokenizer import TextTokenizer

T = TypeVar("T")

GROUP = 16
LONGEST = 900  # characters of a text on its own: about 200 tokens, within what the teacher reads
# Characters of the long documents: about 256 to 7700 tokens.
SIZES = (1100, 2200, 4500, 9000, 18000, 34000)
SHARES = (25, 25, 25, 15, 7, 3)
PIECE_BUDGET = 27000  # characters of a batch of long documents (about 6000 tokens), unless one alone is longer


@dataclass(frozen=True)
class Chunked:
    """A document with the spans of its chunks, and for each chunk the text whose meaning its vector should have."""

    item: Item
    meanings: list[str]


def sentences(text: str) -> list[str]:
    """The sentences of a text; what is shorter than 25 characters stays with the one before."""
    parts: list[str] = []
    for part in re.split(r"(?<=[.!?;:])\s+|\n", text):
        if parts and (len(part) < 25 or len(parts[-1]) < 25):
            parts[-1] += f" {part}"
        elif part:
            parts.append(part)
    return parts


def chunks(text: str, size: int) -> list[str]:
    """Runs of whole sentences of at most `size` characters; a longer sentence is cut."""
    out: list[str] = []
    for sentence in sentences(text):
        if out and len(out[-1]) + len(sentence) < size:
            out[-1] += f" {sentence}"
        else:
            out.append(sentence[:size])
    return out


class Texts:
    """The corpus as texts of a length, as pairs and as documents."""

    def __init__(self, documents: Sequence[Document], tokenizer: TextTokenizer) -> None:
        self.sections = [section for document in documents for section in document.sections]
        self.documents = documents
        texts = [chunk for section in self.sections for chunk in chunks(section.text, LONGEST)]
        texts += [sentence for section in self.sections[::4] for sentence in sentences(section.text)[:3]]
        texts += [section.heading for section in self.sections[::4]]
        self.texts = by_length(texts, tokenizer)
        self.pairs = by_length([pair.text[:LONGEST] for pair in self.sections], tokenizer, values=self.sections)
        by_source: dict[str, list[Section]] = defaultdict(list)
        for document in documents:
            by_source[document.source] += document.sections
        self.sources = list(by_source.values())
        self.weights = [sum(len(section.text) for section in sections) ** 0.5 for sections in self.sources]

    def alone(self, rng: random.Random, groups: int = 8) -> list[str]:
        """Groups of texts of equal length, short and long ones alike."""
        return draw(rng, self.texts, groups)

    def paired(self, rng: random.Random, groups: int = 5) -> list[tuple[str, str]]:
        """Something short that asks for a text, and the text: its heading, a sentence, a few of its words."""
        out = []
        for section in draw(rng, self.pairs, groups):
            text = section.text[:LONGEST]
            parts = sentences(text)
            kind = rng.random()
            if kind < 0.5 or len(parts) < 2:
                left = section.heading
            elif kind < 0.8:
                left = parts.pop(rng.randrange(len(parts)))
                text = " ".join(parts)
            else:
                left = words_of(f"{section.heading}: {rng.choice(parts)}", rng)
            out.append((left, text))
        return out

    def chunked(self, rng: random.Random) -> list[Chunked]:
        """Documents of one or many sections, cut in chunks whose meaning includes the heading they stand under."""
        out: list[Chunked] = []
        size = rng.choices(SIZES, SHARES)[0]
        while sum(len(chunked.item.text) for chunked in out) + size <= max(PIECE_BUDGET, size):
            (sections,) = rng.choices(self.sources, self.weights)
            first = rng.randrange(len(sections))
            out.append(join(sections[first : first + 400], size, rng))
        return out


def join(sections: Iterable[Section], size: int, rng: random.Random) -> Chunked:
    """Sections under their headings as one text of at most `size` characters, in chunks of one to a few sentences."""
    text = ""
    spans, meanings = [], []
    for section in sections:
        parts = chunks(section.text, rng.choice((120, 250, 500, 900)))
        for number, part in enumerate(parts):
            if len(text) + len(part) + len(section.heading) + 3 > size and spans:
                return Chunked(Item(text, spans), meanings)
            meaning = f"{section.heading}: {part}"
            added = meaning if number == 0 else part
            text += "\n" if text and number == 0 else " " if text else ""
            spans.append((len(text), len(text) + len(added)))
            meanings.append(meaning)
            text += added
    return Chunked(Item(text, spans), meanings)


def words_of(meaning: str, rng: random.Random) -> str:
    """A heading and six neighbouring words of the text after it."""
    heading, _, text = meaning.partition(": ")
    words = text.split()
    start = rng.randrange(max(1, len(words) - 6))
    return f"{heading} {' '.join(words[start : start + 6])}"


def by_length(texts: Sequence[str], tokenizer: TextTokenizer, values: Sequence[T] | None = None) -> dict[int, list[T]]:
    """Values (the texts themselves by default) by the number of tokens of their text, 3 tokens at least."""
    out: dict[int, list[T]] = defaultdict(list)
    for start in range(0, len(texts), 4096):
        for i, ids in enumerate(tokenizer.encode(texts[start : start + 4096], ""), start):
            if len(ids) > 4:
                out[len(ids)].append((values or texts)[i])  # type: ignore[arg-type]
    return {length: values for length, values in sorted(out.items()) if len(values) >= GROUP}


def draw(rng: random.Random, table: dict[int, list[T]], groups: int) -> list[T]:
    """GROUP values of each of several lengths; a length is drawn by how many tokens, or how many values, have it."""
    lengths = list(table)
    out = []
    for number in range(groups):
        weights = [len(table[length]) * (length if number % 2 else 1) for length in lengths]
        totals = [0]
        for weight in weights:
            totals.append(totals[-1] + weight)
        length = lengths[bisect_right(totals, rng.randrange(totals[-1])) - 1]
        out += rng.sample(table[length], GROUP)
    return out
