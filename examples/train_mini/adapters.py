"""Stage 2: what each adapter is taught, as the loss of one batch.

The frozen network is a copy of the teacher; an adapter moves it towards its task by contrast (what belongs together against
everything else in the batch) and is held near the teacher so that it does not forget what it never sees here.
"""

import random
from collections.abc import Callable, Sequence
from itertools import chain

import torch
import torch.nn.functional as F
from batches import GROUP, Chunked, Texts, chunks, join_articles, sentences, words_of
from corpus import Document, Section, labelled
from losses import DIMENSIONS, TEMPERATURE, imitate, rank_alike, unit
from model import Item, Parameters, Student, Teacher
from torch import Tensor

from taskvec import Task
from taskvec.late_chunking import join_chunks

Loss = Callable[[random.Random], Tensor]
SHARED = 12  # texts that a label needs to be learned from
QUERY, PASSAGE = Task.RETRIEVAL_QUERY, Task.RETRIEVAL_PASSAGE


def contrast(left: Tensor, right: Tensor, positives: Tensor, ignored: Tensor) -> Tensor:
    """InfoNCE at every width; row i of `left` belongs to the columns where `positives`, `ignored` ones count as neither."""
    loss = left.new_zeros(())
    for dimensions in DIMENSIONS:
        scores = unit(left, dimensions) @ unit(right, dimensions).T / TEMPERATURE
        scores = scores.masked_fill(ignored & ~positives, float("-inf"))
        share = (scores.logsumexp(1, keepdim=True) - scores).masked_fill(~positives, 0.0)
        loss = loss + (share.sum(1) / positives.sum(1).clamp(min=1)).mean()
    return loss / len(DIMENSIONS)


class Lessons:
    """The losses of all adapters over one corpus."""

    def __init__(self, student: Student, teacher: Teacher, texts: Texts, documents: Sequence[Document]) -> None:
        self._student, self._teacher, self._texts = student, teacher, texts
        self._articles = texts.articles
        faqs = ("anarchism", "debian-faq")
        self._answers = [
            section
            for document in documents
            if document.source in faqs
            for section in document.sections
            if section.heading.endswith("?")
        ]
        ways = labelled(documents).values()
        shared = [[texts for texts in labels.values() if len(texts) >= SHARED] for labels in ways]
        self._labelled = [groups for groups in shared if len(groups) >= 4]
        self._label_weights = [len(groups) ** 0.5 for groups in self._labelled]
        self._long = [d for d in documents if len(d.sections) >= 4 and d.source not in ("wordnet", "git", "articles")]

    def retrieval(self, rng: random.Random, query: Parameters, passage: Parameters) -> Tensor:
        """Questions find their passages: among passages of the same article, among chunks of one long text, in dictionaries."""
        kind = rng.random()
        if kind < 0.3:
            return self._articles_apart(rng, query, passage)
        if kind < 0.55:
            return self._articles_joined(rng, query, passage)
        if kind < 0.7:
            return self._long_texts(rng, query, passage)
        pairs = self._texts.paired(rng, 3)
        for section in rng.sample(self._answers, 12):
            pairs.append((section.heading, " ".join(chunks(section.text, 800)[:1])))
        left, right = ([pair[side] for pair in pairs] for side in (0, 1))
        return self._search(
            query, passage, left, [Item.whole(text) for text in right], right, torch.eye(len(pairs), dtype=torch.bool)
        )

    def _articles_apart(self, rng: random.Random, query: Parameters, passage: Parameters) -> Tensor:
        questions, texts = map(list, zip(*self._texts.asked(rng, 10), strict=True))
        return self._search(
            query, passage, questions, [Item.whole(text) for text in texts], texts, torch.eye(len(texts), dtype=torch.bool)
        )

    def _articles_joined(
        self, rng: random.Random, query: Parameters, passage: Parameters, sizes: Sequence[int] = (150, 350, 2000)
    ) -> Tensor:
        """Articles alone or several in one text, in paragraphs or sentences; a question belongs to one chunk of its paragraph.

        Which one, the teacher says, reading each chunk under the article's title.
        """
        articles = rng.sample(self._articles, 10)
        size = rng.choice(sizes)
        documents: list[Chunked] = []
        owners: list[Section] = []
        while articles:
            together = [articles.pop() for _ in range(min(len(articles), rng.choice((1, 1, 2, 5))))]
            document, found = join_articles(together, size)
            documents.append(document)
            owners += found
        meanings = [meaning for document in documents for meaning in document.meanings]
        asked = [(rng.choice(section.questions), section) for section in _unique(owners)]
        questions = [question for question, _ in asked]
        mine = torch.tensor([[owner is section for owner in owners] for _, section in asked])
        likeness = self._teacher(questions) @ self._teacher(meanings).T
        best = torch.where(mine, likeness, -1.0).argmax(1)
        positives = F.one_hot(best, len(owners)).bool()
        items = [document.item for document in documents]
        return self._search(query, passage, questions, items, meanings, positives, mine)

    def _long_texts(self, rng: random.Random, query: Parameters, passage: Parameters) -> Tensor:
        """Long documents of any source: a heading and a few words from a chunk find that chunk."""
        documents = self._texts.chunked(rng)
        meanings = [meaning for document in documents for meaning in document.meanings]
        parts = [
            (heading, document.item.text[slice(*span)])
            for document in documents
            for heading, span in zip(document.headings, document.item.spans, strict=True)
        ]
        asked = rng.sample(range(len(parts)), min(40, len(parts)))
        questions = [words_of(*parts[number], rng) for number in asked]
        positives = F.one_hot(torch.tensor(asked), len(meanings)).bool()
        return self._search(query, passage, questions, [document.item for document in documents], meanings, positives)

    def _search(
        self,
        query: Parameters,
        passage: Parameters,
        questions: list[str],
        items: list[Item],
        meanings: list[str],
        positives: Tensor,
        related: Tensor | None = None,
    ) -> Tensor:
        left = self._student.vectors([Item.whole(text) for text in questions], query, QUERY.instruction)
        right = self._student.vectors(items, passage, PASSAGE.instruction)
        wanted_left, wanted = self._teacher(questions), self._teacher(meanings)
        # Passages that say nearly the same as the right one are no mistakes.
        ignored = positives.float() @ (wanted @ wanted.T) > 0.9
        if related is not None:
            ignored |= related
        near = (1 - (unit(right) * wanted).sum(1)).mean() + (1 - (unit(left) * wanted_left).sum(1)).mean()
        return contrast(left, right, positives, ignored) + 0.5 * rank_alike(left, right, wanted_left, wanted) + near

    def late(self, rng: random.Random, query: Parameters, passage: Parameters, before: Parameters) -> Tensor:
        """Paragraphs mean alone and in their document what they meant alone to the adapter `before`; short chunks learn on."""
        kind = rng.random()
        if kind < 0.15:
            return self._articles_joined(rng, query, passage, (150, 350))
        if kind < 0.35:
            documents = [self._questions_answered(rng) for _ in range(2)]
        elif kind < 0.75:
            articles = [[(rng.choice(s.questions), s.text) for s in article] for article in rng.sample(self._articles, 5)]
            together = rng.choice((1, 1, 2))
            documents = [list(chain.from_iterable(articles[first : first + together])) for first in range(0, 5, together)]
        else:
            documents = [self._long_document(rng) for _ in range(3)]
        pairs = list(chain.from_iterable(documents))
        alone = [Item.whole(text) for _, text in pairs]
        with torch.no_grad():
            wanted = unit(self._student.vectors(alone, before, PASSAGE.instruction))
            left = self._student.vectors([Item.whole(question) for question, _ in pairs], query, QUERY.instruction)
        own = torch.eye(len(pairs), dtype=torch.bool)
        loss = wanted.new_zeros(())
        joined = [Item(*join_chunks([text for _, text in document], "")) for document in documents]
        for items, weight in ((alone, 2), (joined, 4)):
            right = self._student.vectors(items, passage, PASSAGE.instruction)
            loss = loss + weight * imitate(right, wanted) + 0.5 * contrast(left, right, own, torch.zeros_like(own))
        return loss

    def _questions_answered(self, rng: random.Random) -> list[tuple[str, str]]:
        """A list of questions and answers that follow one another and have little to do with each other."""
        sections = rng.sample(self._answers, 8)
        return [(section.heading, section.text[:1500]) for section in sections]

    def _long_document(self, rng: random.Random) -> list[tuple[str, str]]:
        """Neighbouring paragraphs of a long document of any source, each with a heading and a few words that ask for it."""
        document = rng.choice(self._long)
        first = rng.randrange(len(document.sections) - 3)
        size = rng.choice((400, 700, 1000))
        sections = document.sections[first : first + 12]
        pairs = [(words_of(section.heading, part, rng), part) for section in sections for part in chunks(section.text, size)]
        return pairs[: 6000 // size]

    def text_matching(self, rng: random.Random, lora: Parameters) -> Tensor:
        """Short texts, near ones among them: the teacher's similarities, at every width."""
        texts = []
        for section in rng.sample(self._texts.sections, 48):
            parts = [part for part in sentences(section.text) if 12 < len(part) < 250]
            texts += [section.heading] * (len(section.heading) > 12) + rng.sample(parts, min(3, len(parts)))
        for article in rng.sample(self._articles, 6):
            section = rng.choice(article)
            texts += [*section.questions, *rng.sample(sentences(section.text), 2)]
        vectors, wanted = self._student.vectors([Item.whole(text) for text in texts], lora), self._teacher(texts)
        return imitate(vectors, wanted) + rank_alike(vectors, vectors, wanted, wanted)

    def classification(self, rng: random.Random, lora: Parameters) -> Tensor:
        """Texts of one label together, under one way to classify: Debian's sections, a question's subject, a writer's mood."""
        (groups,) = rng.choices(self._labelled, self._label_weights)
        return self._grouped(lora, [rng.sample(texts, 6) for texts in rng.sample(groups, min(len(groups), GROUP))])

    def separation(self, rng: random.Random, lora: Parameters) -> Tensor:
        """Passages of one document, or of one label, together, away from the others."""
        if rng.random() < 0.3:
            return self.classification(rng, lora)
        groups = [[section.text for section in article] for article in rng.sample(self._articles, 12)]
        for document in rng.sample(self._long, min(12, len(self._long))):
            parts = [part for section in document.sections[:40] for part in chunks(section.text, 600)]
            groups.append(rng.sample(parts, min(5, len(parts))))
        return self._grouped(lora, groups)

    def _grouped(self, lora: Parameters, groups: list[list[str]]) -> Tensor:
        texts = [text[:600] for group in groups for text in group]
        owners = torch.tensor([number for number, group in enumerate(groups) for _ in group])
        vectors, wanted = self._student.vectors([Item.whole(text) for text in texts], lora), self._teacher(texts)
        itself = torch.eye(len(texts), dtype=torch.bool)
        together = (owners[:, None] == owners) & ~itself
        near = (1 - (unit(vectors) * wanted).sum(1)).mean()
        return contrast(vectors, vectors, together, itself) + 2 * near


def _unique(sections: Sequence[Section]) -> list[Section]:
    return list({id(section): section for section in sections}.values())
