"""The training program on a toy corpus: it learns, goes on where it was stopped, and writes what it trained."""

import random
from pathlib import Path

import corpus
import numpy as np
import pytest
import torch
from adapters import Lessons
from basis import principal_basis
from batches import Texts, chunks, join, sentences
from corpus import Document, Section
from losses import follow, unit
from model import Item, Student, Teacher, from_teacher, new_lora, norms, save
from train import Run, distil_step, sample

from support.paths import ROOT
from taskvec import Encoder, Task


@pytest.fixture(scope="module")
def basis(documents: list[Document]) -> torch.Tensor:
    return principal_basis(Teacher()(sample(documents[:20], random.Random(0), 20)), norms())


@pytest.fixture(scope="module")
def teacher(basis: torch.Tensor) -> Teacher:
    return Teacher(basis)


@pytest.fixture
def student(tmp_path: Path, basis: torch.Tensor) -> Student:
    return from_teacher(tmp_path / "start", basis)


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    """This folder's articles stand for all sources: as articles, as packages with labels, and as an FAQ."""
    articles = [Document("articles", document.sections) for document in corpus.articles(ROOT)]
    paragraphs = [section for article in articles[:90] for section in article.sections]
    plain = [Section(section.heading, section.text) for section in paragraphs]
    faq = [Section(section.questions[0], section.text) for section in paragraphs[:20]]
    labelled = [Document("packages", [section], f"label {i % 4}") for i, section in enumerate(plain)]
    labelled.append(Document("jargon", plain[:1], "a label that no other document has"))
    return [*articles, *labelled, Document("anarchism", faq), Document("handbook", plain[:60])]


@pytest.fixture(scope="module")
def texts(documents: list[Document], tmp_path_factory: pytest.TempPathFactory) -> Texts:
    return Texts(documents, from_teacher(tmp_path_factory.mktemp("tokenizer"), torch.eye(384)).tokenizer)


def test_articles_are_whole() -> None:
    articles = list(corpus.articles(ROOT))
    assert len(articles) >= 200
    paragraphs = [section.text for article in articles for section in article.sections]
    assert len(set(paragraphs)) == len(paragraphs)
    for article in articles:
        assert len(article.sections) == 5
        assert all(len(section.questions) in (4, 5) for section in article.sections)


def test_labels_are_whole_and_sets_are_held_out_whole() -> None:
    documents = list(corpus.labels(ROOT))
    ways = corpus.labelled([Document("labels", document.sections, document.label) for document in documents])
    assert len(ways) >= 20
    for labels in ways.values():
        assert len(labels) >= 6
        assert {len(texts) for texts in labels.values()} == {14}
    train, held = corpus.split([Document("labels", document.sections, document.label) for document in documents])
    assert held
    assert not set(corpus.labelled(train)) & set(corpus.labelled(held))


def test_the_turned_space_is_the_same_space_with_the_most_in_front(documents: list[Document], basis: torch.Tensor) -> None:
    torch.testing.assert_close(basis @ basis.T, torch.eye(384), atol=1e-5, rtol=0)
    torch.testing.assert_close(basis.sum(1), torch.ones(384), atol=1e-4, rtol=0)  # LayerNorm's mean stays
    passages = [section.text for document in documents[:20] for section in document.sections]
    plain, turned = Teacher()(passages), Teacher(basis)(passages)
    torch.testing.assert_close(turned @ turned.T, plain @ plain.T, atol=1e-4, rtol=0)

    def distortion(vectors: torch.Tensor) -> float:
        short = unit(vectors, 32)
        return float((short @ short.T - plain @ plain.T).square().mean())

    assert distortion(turned) < 0.8 * distortion(plain)


def test_follow_holds_the_tokens_of_an_instruction_to_the_mean() -> None:
    theirs = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]])
    framed = torch.cat((theirs[:1], theirs.mean(0).expand(2, -1), theirs[1:]))
    assert follow([framed, theirs], [theirs, theirs]) == 0
    assert follow([framed.flip(0)], [theirs]) > 0.1


def test_sentences_and_chunks_of_whole_sentences_lose_nothing() -> None:
    text = "One short. Another sentence that is longer than that. A third one follows here; it has two parts. End."
    assert " ".join(sentences(text)) == text
    assert " ".join(chunks(text, 60)) == text


def test_joined_sections_say_where_their_chunks_are() -> None:
    sections = [
        Section("Bread", "Yeast makes it rise. It needs an hour of rest before the oven."),
        Section("Tea", "It is a leaf."),
    ]
    document = join(sections, 1000, random.Random(0))
    parts = [document.item.text[start:stop] for start, stop in document.item.spans]
    assert parts[0].startswith("Bread: Yeast")
    assert document.meanings[-1] == "Tea: It is a leaf." == parts[-1]


def test_a_student_starts_out_as_its_teacher_without_positions(student: Student, teacher: Teacher) -> None:
    (vector,) = student.vectors([Item.whole("bread")])
    assert torch.cosine_similarity(vector, teacher(["bread"])[0], dim=0) > 0.6


def test_stage_one_learns_and_resumes(
    student: Student, teacher: Teacher, texts: Texts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def steps(run: Run, count: int) -> list[float]:
        losses = []
        for _ in range(count):
            loss = distil_step(student, teacher, texts, random.Random(f"{run.step % 2}"))
            run(loss)
            losses.append(loss.item())
        return losses

    monkeypatch.setattr("batches.PIECE_BUDGET", 3000)
    monkeypatch.setattr("batches.GROUP", 4)
    start = {name: tensor.clone() for name, tensor in student.base.items()}
    run = Run("base", student.base, 8, 1e-4, tmp_path)
    first = steps(run, 4)
    assert first[2] < first[0]
    run.keep()
    steps(run, 2)
    uninterrupted = {name: tensor.detach().clone() for name, tensor in student.base.items()}
    with torch.no_grad():
        for name, tensor in student.base.items():
            tensor.copy_(start[name])
    resumed = Run("base", student.base, 8, 1e-4, tmp_path)
    assert resumed.step == 4
    with pytest.raises(SystemExit, match="pass another --work"):
        Run("base", student.base, 8, 1e-4, tmp_path, seed=1)
    steps(resumed, 2)
    for name, tensor in student.base.items():
        torch.testing.assert_close(tensor, uninterrupted[name], atol=2e-5, rtol=1e-3)


def test_every_lesson_reaches_its_adapter_alone(
    student: Student, teacher: Teacher, texts: Texts, documents: list[Document]
) -> None:
    lessons = Lessons(student, teacher, texts, documents)
    generator = torch.Generator().manual_seed(0)
    for name in ("retrieval", "text_matching", "classification", "separation"):
        loras = [new_lora(student.config, generator) for _ in range(2 if name == "retrieval" else 1)]
        for lora in loras:
            for tensor in lora.values():
                tensor.requires_grad_(True)
        getattr(lessons, name)(random.Random(0), *loras).backward()
        for lora in loras:
            assert all(tensor.grad is not None for tensor in lora.values())
            assert any(
                tensor.grad is not None and tensor.grad.abs().sum() > 0 for key, tensor in lora.items() if key.endswith("left")
            )
        assert all(tensor.grad is None for tensor in student.base.values())


def test_the_late_lesson_teaches_the_passage_adapter_only(
    student: Student, teacher: Teacher, texts: Texts, documents: list[Document]
) -> None:
    lessons = Lessons(student, teacher, texts, documents)
    generator = torch.Generator().manual_seed(0)
    query, passage, before = (new_lora(student.config, generator) for _ in range(3))
    for tensor in passage.values():
        tensor.requires_grad_(True)
    for seed in range(2):  # both kinds of batch
        passage["layers.0.mlp.fc1.left"].grad = None
        lessons.late(random.Random(seed), query, passage, before).backward()  # type: ignore[no-untyped-call]
        gradient = passage["layers.0.mlp.fc1.left"].grad
        assert gradient is not None
        assert gradient.abs().sum() > 0
    assert all(tensor.grad is None for lora in (query, before, student.base) for tensor in lora.values())


def test_what_is_saved_is_what_was_trained(student: Student, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    adapters = {task: new_lora(student.config, generator) for task in Task}
    for lora in adapters.values():
        for name, tensor in lora.items():
            tensor += torch.randn(tensor.shape, generator=generator) * 0.02 * name.endswith("left")
    save(tmp_path / "saved", student.base, adapters)
    encoder = Encoder.from_pretrained(tmp_path / "saved", dtype="float32")
    text = "Bread rises because yeast turns sugar into gas."
    vectors = []
    for task in Task:
        with torch.no_grad():
            (wanted,) = student.vectors([Item.whole(text)], adapters[task], task.instruction)
        vectors.append(encoder.encode(text, task=task))
        assert vectors[-1] @ torch.nn.functional.normalize(wanted, dim=0).numpy() > 0.999
    assert np.array(vectors[2]) @ vectors[3] < 0.995
