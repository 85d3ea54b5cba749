"""How a model in training does on text it is not trained on: Perl's FAQ, and documents held out of the corpus.

Rough monitors for choices made on the way; the published figures come from benchmarks/quality.py on other text.
"""

import random
from collections.abc import Sequence
from pathlib import Path

import corpus
import torch
from batches import chunks, join_articles, sentences
from corpus import Document, Section
from losses import DIMENSIONS, unit
from model import Item, Parameters, Student, Teacher
from scipy.stats import spearmanr
from torch import Tensor

from taskvec import Task
from taskvec.late_chunking import join_chunks

SENTENCE = 150  # characters of a chunk of one sentence or two


def ndcg(queries: Tensor, passages: Tensor, relevant: Tensor, dimensions: int) -> float:
    """nDCG@10 with one relevant passage a query."""
    scores = unit(queries, dimensions) @ unit(passages, dimensions).T
    ranks = (scores > scores.gather(1, relevant[:, None])).sum(1)
    return float(torch.where(ranks < 10, 1 / torch.log2(ranks + 2.0), 0.0).mean())


class Development:
    """Everything that is measured, on one fixed choice of held-out text."""

    def __init__(self, work: Path, held: Sequence[Document], teacher: Teacher) -> None:
        faq = [[section for section in document.sections if "?" in section.heading] for document in corpus.held_out(work)]
        self._faq = [[section.text[:1500] for section in sections] for sections in faq if sections]
        self._faq_questions = [section.heading for sections in faq for section in sections]
        articles = [document.sections for document in held if document.source == "articles"]
        paragraphs = [section for article in articles for section in article]
        self._questions = [question for section in paragraphs for question in section.questions]
        self._paragraph_of = torch.tensor([i for i, section in enumerate(paragraphs) for _ in section.questions])
        self._articles = [[section.text for section in article] for article in articles]
        self._sentences = [[part for text in article for part in chunks(text, SENTENCE)] for article in self._articles]
        self._sentence_of = self._answering(articles, teacher)
        rng = random.Random(0)
        self._labelled = [
            [texts[:12] for texts in labels.values() if len(texts) >= 12] for labels in corpus.labelled(held).values()
        ]
        headed = [document.sections[0] for document in held if document.sections[0].heading]
        rest = [part for section in rng.sample(headed, 600) for part in sentences(section.text)[:1]]
        self._short = [text for text in rest if len(text) < 250]
        self._wanted = teacher(self._short)

    @staticmethod
    def _answering(articles: Sequence[Sequence[Section]], teacher: Teacher) -> Tensor:
        """Which of all sentences answers each question: the one of its paragraph that the teacher, told the title, finds."""
        document, owners = join_articles(articles, SENTENCE)
        meanings = teacher(document.meanings)
        out = []
        for section in (section for article in articles for section in article):
            mine = torch.tensor([owner is section for owner in owners])
            likeness = teacher(list(section.questions)) @ meanings.T
            out.append(torch.where(mine, likeness, -1.0).argmax(1))
        return torch.cat(out)

    @torch.no_grad()
    def retrieval(self, student: Student, query: Parameters | None = None, passage: Parameters | None = None) -> str:
        """nDCG@10 at every width: Perl's FAQ, articles by paragraph and by sentence, each alone and late chunked."""
        instructions = ("", "") if query is None else (Task.RETRIEVAL_QUERY.instruction, Task.RETRIEVAL_PASSAGE.instruction)
        report = []
        faq = self._faq_questions, torch.arange(len(self._faq_questions))
        for name, (questions, relevant), documents in (
            ("faq", faq, _apart(self._faq)),
            ("late faq", faq, self._faq),
            ("articles", (self._questions, self._paragraph_of), _apart(self._articles)),
            ("late", (self._questions, self._paragraph_of), self._articles),
            ("sentences", (self._questions, self._sentence_of), _apart(self._sentences)),
            ("late sentences", (self._questions, self._sentence_of), self._sentences),
        ):
            if not questions:
                continue
            left = student.vectors([Item.whole(text) for text in questions], query, instructions[0])
            right = student.vectors([Item(*join_chunks(texts, "")) for texts in documents], passage, instructions[1])
            report.append(f"{name} {_at(lambda d, left=left, right=right, best=relevant: ndcg(left, right, best, d))}")
        return "; ".join(report)

    @torch.no_grad()
    def similarity(self, student: Student, lora: Parameters | None = None) -> str:
        """Spearman's correlation with the teacher's similarities of the near pairs among held-out sentences."""
        vectors = student.vectors([Item.whole(text) for text in self._short], lora)
        wanted = (self._wanted @ self._wanted.T).triu(1)
        near = wanted > 0.2
        return _at(lambda d: float(spearmanr((unit(vectors, d) @ unit(vectors, d).T)[near], wanted[near]).statistic))

    @torch.no_grad()
    def labels(self, student: Student, lora: Parameters | None = None) -> str:
        """How often the nearest neighbour has the same label, mean over the ways to classify."""
        shares = [_nearest(student, groups, lora) for groups in self._labelled if len(groups) >= 4]
        return _at(lambda dimensions: sum(share(dimensions) for share in shares) / len(shares))

    @torch.no_grad()
    def documents(self, student: Student, lora: Parameters | None = None) -> str:
        """How often the nearest paragraph is of the same article."""
        return _at(_nearest(student, self._articles, lora))


def _apart(documents: list[list[str]]) -> list[list[str]]:
    """Each text a document of its own."""
    return [[text] for texts in documents for text in texts]


def _nearest(student: Student, groups: list[list[str]], lora: Parameters | None):
    owners = torch.tensor([number for number, group in enumerate(groups) for _ in group])
    vectors = student.vectors([Item.whole(text) for group in groups for text in group], lora)

    def share(dimensions: int) -> float:
        scores = (unit(vectors, dimensions) @ unit(vectors, dimensions).T).fill_diagonal_(-1)
        return float((owners[scores.argmax(1)] == owners).float().mean())

    return share


def _at(measure) -> str:
    return " ".join(f"{dimensions}:{measure(dimensions):.3f}" for dimensions in DIMENSIONS)
