"""Train taskvec-mini: one command, from Debian packages and this folder's articles to a checkpoint in the -hf layout.

    python examples/train_mini/train.py --output core/taskvec/mini

Stage 1 distils the teacher (all-MiniLM-L6-v2) into the same network with RoPE, at several dimensions and in long documents.
Stage 2 trains the five adapters, one after the other, on the frozen network. Every choice was made on the development split
(Perl's FAQ and articles left out of training); benchmarks/quality.py makes the final figures. A stopped run goes on where it was.
"""

import logging
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import corpus
import torch
import typer
from adapters import Lessons
from basis import principal_basis
from batches import Texts
from corpus import Document
from development import Development
from losses import follow, imitate, rank_alike
from model import Parameters, Student, Teacher, from_teacher, new_lora, norms, save
from torch import Tensor

from taskvec import Task

BASE_RATE = 4e-4
LORA_RATE = 1.5e-3
LATE_RATE = 7e-4
TOKENS = 1.0  # weight of the hidden states of tokens beside the vectors of texts
QUERY, PASSAGE = Task.RETRIEVAL_QUERY.instruction, Task.RETRIEVAL_PASSAGE.instruction
STEPS = {"base": 2400, "retrieval": 300, "late": 300, "text_matching": 100, "classification": 150, "separation": 100}

log = logging.getLogger("train_mini")


def sample(documents: Sequence[Document], rng: random.Random, count: int = 4000) -> list[str]:
    """Some of everything: texts and headings of `count` documents, all articles and their questions."""
    sections = [section for document in rng.sample(documents, count) for section in document.sections[:1]]
    articles = [section for document in documents if document.source == "articles" for section in document.sections]
    texts = [text for section in sections for text in (section.text[:500], section.heading) if text]
    return texts + [text for section in articles for text in (section.text, *section.questions)]


def distil_step(student: Student, teacher: Teacher, texts: Texts, rng: random.Random) -> Tensor:
    """The loss of one batch of stage 1; half of the batches have an instruction in front, which is to change nothing."""
    kind = rng.random()
    instruction = rng.choice(("", "", QUERY, PASSAGE))
    if kind < 0.35:
        return distil(student, teacher, texts.alone(rng), instruction)[0]
    if kind < 0.75:
        left, right = zip(*(texts.asked(rng) if kind < 0.5 else texts.paired(rng)), strict=True)
        loss, vectors, wanted = distil(student, teacher, [*left, *right], instruction)
        return loss + rank_alike(*vectors.split(len(left)), *wanted.split(len(left)))
    documents = texts.chunked(rng)
    vectors = student.vectors([document.item for document in documents], None, instruction)
    return imitate(vectors, teacher([meaning for document in documents for meaning in document.meanings]))


def distil(student: Student, teacher: Teacher, texts: Sequence[str], instruction: str) -> tuple[Tensor, Tensor, Tensor]:
    """The loss of texts on their own, token by token and as vectors; the vectors of student and teacher."""
    states = teacher.tokens(texts)
    wanted = torch.nn.functional.normalize(torch.stack([state.mean(0) for state in states]), dim=1)
    vectors, ours = student.tokens(texts, instruction)
    return imitate(vectors, wanted) + TOKENS * follow(ours, states), vectors, wanted


class Run:
    """Steps of an optimiser over some parameters, with the state on disk so that it can go on where it was stopped."""

    def __init__(self, name: str, parameters: Parameters, steps: int, rate: float, folder: Path, seed: int = 0) -> None:
        self.name, self.parameters, self.steps, self.rate = name, parameters, steps, rate
        self._settings = {"seed": seed, "steps": steps, "rate": rate}
        self._path = folder / f"{name}.pt"
        for tensor in parameters.values():
            tensor.requires_grad_(True)
        self._optimizer = torch.optim.AdamW(parameters.values(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
        self.step = 0
        if self._path.exists():
            state = torch.load(self._path)
            if state["settings"] != self._settings:
                raise SystemExit(f"{self._path} is of a run with {state['settings']}, not {self._settings}: pass another --work")
            self.step = state["step"]
            with torch.no_grad():
                for key, tensor in state["parameters"].items():
                    parameters[key].copy_(tensor)
            self._optimizer.load_state_dict(state["optimizer"])

    def __call__(self, loss: Tensor) -> None:
        """One step down the gradient of a loss; linear warm-up, and cosine decay to a fiftieth."""
        warm = min(1, (self.step + 1) / max(1, min(50, self.steps // 5)))
        decayed = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * self.step / self.steps))
        for group in self._optimizer.param_groups:
            group["lr"] = self.rate * warm * decayed
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
        self._optimizer.step()
        self.step += 1
        if self.step % 100 == 0 or self.step == self.steps:
            self.keep()

    def keep(self) -> None:
        """Write the state; the old one is replaced only when the new one is complete."""
        state = {
            "settings": self._settings,
            "step": self.step,
            "parameters": self.parameters,
            "optimizer": self._optimizer.state_dict(),
        }
        partial = self._path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self._path)


@dataclass
class Trainer:
    """Both stages over one corpus."""

    student: Student
    teacher: Teacher
    texts: Texts
    lessons: Lessons
    development: Development
    work: Path
    seed: int

    def base(self, steps: int) -> None:
        """Stage 1: the whole network, without adapters."""

        def loss(rng: random.Random) -> Tensor:
            return distil_step(self.student, self.teacher, self.texts, rng)

        self._train(
            Run("base", self.student.base, steps, BASE_RATE, self.work, self.seed),
            loss,
            lambda: self.development.retrieval(self.student),
        )
        for tensor in self.student.base.values():
            tensor.requires_grad_(False)

    def adapters(self, steps: dict[str, int]) -> dict[Task, Parameters]:
        """Stage 2: query and passage together, passage once more in its documents, then the others alone."""
        generator = torch.Generator().manual_seed(self.seed)
        adapters = {task: new_lora(self.student.config, generator) for task in Task}
        query, passage = adapters[Task.RETRIEVAL_QUERY], adapters[Task.RETRIEVAL_PASSAGE]
        both = {f"{side}.{name}": tensor for side, lora in (("q", query), ("p", passage)) for name, tensor in lora.items()}
        self._train(
            Run("retrieval", both, steps["retrieval"], LORA_RATE, self.work, self.seed),
            lambda rng: self.lessons.retrieval(rng, query, passage),
            lambda: self.development.retrieval(self.student, query, passage),
        )
        before = {name: tensor.detach().clone() for name, tensor in passage.items()}
        for tensor in query.values():
            tensor.requires_grad_(False)
        self._train(
            Run("late", passage, steps["late"], LATE_RATE, self.work, self.seed),
            lambda rng: self.lessons.late(rng, query, passage, before),
            lambda: self.development.retrieval(self.student, query, passage),
        )
        for task, lesson, report in (
            (Task.TEXT_MATCHING, self.lessons.text_matching, self.development.similarity),
            (Task.CLASSIFICATION, self.lessons.classification, self.development.labels),
            (Task.SEPARATION, self.lessons.separation, self.development.documents),
        ):
            lora = adapters[task]
            log.info("%s without its adapter: %s", task, report(self.student))
            self._train(
                Run(task.adapter, lora, steps[task.adapter], LORA_RATE, self.work, self.seed),
                lambda rng, lesson=lesson, lora=lora: lesson(rng, lora),
                lambda report=report, lora=lora: report(self.student, lora),
            )
        return adapters

    def _train(self, run: Run, loss: Callable[[random.Random], Tensor], report: Callable[[], str]) -> None:
        if run.step == 0:
            log.info("%s before: %s", run.name, report())
        start, first = time.monotonic(), run.step
        while run.step < run.steps:
            value = loss(random.Random(f"{self.seed} {run.name} {run.step}"))
            run(value)
            if run.step % 10 == 0:
                seconds = (time.monotonic() - start) / (run.step - first)
                log.info("%s step %d of %d: loss %.4f, %.2f s a step", run.name, run.step, run.steps, value.item(), seconds)
            if run.step % 200 == 0 or run.step == run.steps:
                log.info("%s at %d: %s", run.name, run.step, report())


def main(
    output: Annotated[Path, typer.Option(help="Folder for the finished checkpoint.")],
    work: Annotated[Path, typer.Option(help="Folder for packages, state and log.")] = Path("train_mini_work"),
    seed: int = 0,
) -> None:
    """Train taskvec-mini and write it to --output."""
    work.mkdir(parents=True, exist_ok=True)
    handlers = [logging.FileHandler(work / "train.log"), logging.StreamHandler()]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=handlers)
    corpus.fetch(work)
    documents, held = corpus.split(corpus.read(work))
    log.info("%d documents to train on, %d held out", len(documents), len(held))
    basis = principal_basis(Teacher()(sample(documents, random.Random(seed))), norms())
    student, teacher = from_teacher(work / "start", basis), Teacher(basis)
    texts = Texts(documents, student.tokenizer)
    lessons = Lessons(student, teacher, texts, documents)
    trainer = Trainer(student, teacher, texts, lessons, Development(work, held, teacher), work, seed)
    trainer.base(STEPS["base"])
    adapters = trainer.adapters(STEPS)
    save(output, student.base, adapters)
    log.info("written to %s", output)


if __name__ == "__main__":
    typer.run(main)
