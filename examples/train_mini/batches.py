"""What one training step sees: texts alone, pairs, or long documents in chunks, each drawn by a seeded generator.

`Texts` prepares the corpus once. Every batch depends on its own seed only, so a run can stop at any step and go on there.
"""

import random
import re
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
PIECE_BUDGET = 11000  # characters of a batch of long documents (about 2500 tokens), unless one alone is longer
CHUNKS = (120, 250, 500, 900)  # characters of a chunk at most
ENOUGH = 400  # characters that need no heading


@dataclass(frozen=True)
class Chunked:
    """A document with the spans of its chunks; for each the text whose meaning its vector should have, and its heading."""

    item: Item
    meanings: list[str]
    headings: list[str]

    @classmethod
    def whole(cls, text: str) -> "Chunked":
        """A text that is one chunk."""
        return cls(Item.whole(text), [text], [""])


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
        self.articles = [document.sections for document in documents if document.source == "articles"]
        self.sections = [section for document in documents for section in document.sections if section.heading]
        texts = [chunk for section in self.sections for chunk in chunks(section.text, LONGEST)]
        texts += [sentence for section in self.sections[::4] for sentence in sentences(section.text)[:3]]
        texts += [section.heading for section in self.sections[::4]]
        self.texts = by_length(texts, tokenizer)
        self.pairs = by_length([pair.text[:LONGEST] for pair in self.sections], tokenizer, values=self.sections)
        by_source: dict[str, list[Section]] = defaultdict(list)
        for document in documents:
            if document.sections[0].heading:
                by_source[document.source] += document.sections
        self.sources = list(by_source.values())
        self.weights = [sum(len(section.text) for section in sections) ** 0.5 for sections in self.sources]

    def alone(self, rng: random.Random, groups: int = 3) -> list[str]:
        """Groups of texts of equal length, short and long ones alike."""
        return draw(rng, self.texts, groups)

    def paired(self, rng: random.Random, groups: int = 3) -> list[tuple[str, str]]:
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
                left = words_of(section.heading, rng.choice(parts), rng)
            out.append((left, text))
        return out

    def asked(self, rng: random.Random, articles: int = 5) -> list[tuple[str, str]]:
        """Paragraphs of a few articles and a question that each answers."""
        sections = [section for article in rng.sample(self.articles, articles) for section in article]
        return [(rng.choice(section.questions), section.text) for section in sections]

    def chunked(self, rng: random.Random) -> list[Chunked]:
        """Documents of one or many sections, cut in chunks, or not cut at all."""
        out: list[Chunked] = []
        size = rng.choices(SIZES, SHARES)[0]
        while sum(len(chunked.item.text) for chunked in out) + size <= max(PIECE_BUDGET, size):
            if rng.random() < 0.2:
                out.append(join_articles(rng.sample(self.articles, -(-size // 4500)), rng.choice(CHUNKS))[0])
                continue
            (sections,) = rng.choices(self.sources, self.weights)
            first = rng.randrange(len(sections))
            document = join(sections[first : first + 400], size, rng)
            out.append(Chunked.whole(document.item.text) if size < 9000 and rng.random() < 0.2 else document)
        return out


def join(sections: Iterable[Section], size: int, rng: random.Random) -> Chunked:
    """Sections under their headings as one text of at most `size` characters, in chunks of one to a few sentences."""
    text = ""
    spans, meanings, headings = [], [], []
    for section in sections:
        parts = chunks(section.text, rng.choice(CHUNKS))
        for number, part in enumerate(parts):
            if len(text) + len(part) + len(section.heading) + 3 > size and spans:
                return Chunked(Item(text, spans), meanings, headings)
            added = f"{section.heading}: {part}" if number == 0 else part
            text += "\n" if text and number == 0 else " " if text else ""
            spans.append((len(text), len(text) + len(added)))
            meanings.append(meaning(section.heading, part))
            headings.append(section.heading)
            text += added
    return Chunked(Item(text, spans), meanings, headings)


def join_articles(articles: Sequence[Sequence[Section]], size: int) -> tuple[Chunked, list[Section]]:
    """Articles as one text without headings, in chunks of at most `size` characters, and the paragraph each chunk is from."""
    text = ""
    spans, meanings, owners = [], [], []
    for article in articles:
        for section in article:
            for part in chunks(section.text, size):
                text += " " if text else ""
                spans.append((len(text), len(text) + len(part)))
                meanings.append(meaning(section.heading, part))
                owners.append(section)
                text += part
    return Chunked(Item(text, spans), meanings, [owner.heading for owner in owners]), owners


def meaning(heading: str, part: str) -> str:
    """The text whose meaning a chunk should have: a short one needs its heading, a long one speaks for itself."""
    return part if len(part) > ENOUGH else f"{heading}: {part}"


def words_of(heading: str, text: str, rng: random.Random) -> str:
    """A heading and six neighbouring words of the text under it."""
    words = text.split()
    start = rng.randrange(max(1, len(words) - 6))
    return f"{heading} {' '.join(words[start : start + 6])}"


def by_length(texts: Sequence[str], tokenizer: TextTokenizer, values: Sequence[T] | None = None) -> dict[int, list[T]]:
    """Values (the texts themselves by default) by the tokens of their text: 3 at least, and lengths that GROUP texts have."""
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
        (length,) = rng.choices(lengths, weights)
        out += rng.sample(table[length], GROUP)
    return out
