"""The bundled model: loaded by the code that loads the real one, faithful to the reference, and its vectors mean something."""

import json
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest

import taskvec
from support.paths import ROOT
from support.reference import Reference, assert_faithful
from taskvec import Encoder, Task
from taskvec.pooling import Vectors

MINI = Path(taskvec.__file__).parent / "mini"

# Question, answer; none of it is in the training text.
PAIRS = [
    ("Why does bread rise?", "Yeast turns the sugar in dough into carbon dioxide, which makes the loaf swell."),
    ("What causes the tides?", "The sea goes up and down twice a day because the moon pulls at the water."),
    ("How do vaccines protect us?", "A weakened germ teaches the body's defences what to attack later."),
    ("Who painted the ceiling of the Sistine Chapel?", "Michelangelo lay on a scaffold for four years to finish the frescoes."),
    ("How does a refrigerator get cold?", "A pump squeezes a gas, and when it expands again it takes heat from the inside."),
    ("Why do leaves turn red in autumn?", "Trees draw back the green pigment before winter and other colours become visible."),
    ("How are pearls made?", "An oyster wraps a grain that got into its shell in layers of nacre."),
    ("What does a conductor do?", "Standing before the orchestra, he beats time and shapes how the musicians play."),
]


def test_it_is_a_model_like_the_real_one(mini: Encoder) -> None:
    assert (mini.model_id, mini.dimensions, mini.max_tokens) == ("mini", 384, 8192)
    assert mini.tasks == tuple(Task)
    assert json.loads((MINI / "config.json").read_text())["model_type"] == "jina_embeddings_v3"


def test_it_fits_the_wheel() -> None:
    sizes = {path: path.stat().st_size for path in MINI.rglob("*") if path.is_file()}
    assert sum(sizes.values()) <= 50e6
    assert max(sizes.values()) <= 48e6
    assert (MINI / "README.md") in sizes


def test_its_name_wins_over_a_folder_and_has_no_revision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mini").mkdir()
    monkeypatch.chdir(tmp_path)
    assert Encoder.from_pretrained("mini").dimensions == 384
    with pytest.raises(ValueError, match="mini is the bundled model, which has no revision 'v2'"):
        Encoder.from_pretrained("mini", revision="v2")


def test_faithful_to_the_reference(mini: Encoder) -> None:
    assert_faithful(mini, Reference(MINI))


@pytest.mark.parametrize("dimensions", [384, 128, 32])
@pytest.mark.parametrize("late_chunking", [False, True])
def test_questions_find_their_answers(mini: Encoder, dimensions: int, late_chunking: bool) -> None:
    questions = mini.encode_queries([question for question, _ in PAIRS], dimensions=dimensions)
    answers = mini.encode_documents([answer for _, answer in PAIRS], dimensions=dimensions, late_chunking=late_chunking)
    found = (questions @ answers.T).argmax(axis=1)
    assert (found == np.arange(len(PAIRS))).mean() >= (0.85 if dimensions > 32 else 0.6)


def test_similar_sentences_are_similar(mini: Encoder) -> None:
    sentence, paraphrase, other = mini.encode(
        ["The cat sleeps on the sofa.", "On the couch a cat is sleeping.", "Interest rates rose again."]
    )
    assert sentence @ paraphrase > 0.7 > 0.4 > sentence @ other


@pytest.mark.parametrize("tokens", [4000, 8000])
def test_a_needle_is_found_in_a_long_document(mini: Encoder, tokens: int) -> None:
    needle = "The password of the lighthouse keeper is periwinkle."
    question = mini.encode_queries("Which password does the keeper of the lighthouse use?")
    paragraphs = [text for text in topics["specialnames"].split("\n\n") if len(text) > 60]
    chunks: list[str] = []
    while sum(mini.count_tokens(chunks)) < tokens - 150:
        chunks.append(paragraphs[len(chunks)])
    for place in (1, len(chunks) // 2) if tokens < 5000 else (len(chunks) - 2,):
        document = [*chunks[:place], needle, *chunks[place:]]
        assert mini.count_tokens([" ".join(document)])[0] <= mini.max_tokens
        (vectors,) = mini.encode_chunks([document])
        assert (vectors @ question).argmax() == place


def test_late_chunking_knows_what_it_means(mini: Encoder) -> None:
    documents = json.loads((ROOT / "benchmarks/data/anaphora.json").read_text())["documents"][:24]
    texts = [document["chunks"] for document in documents]
    starts = np.cumsum([0, *map(len, texts)])
    asked = [
        (question["question"], int(start) + question["chunk"])
        for start, document in zip(starts, documents, strict=False)
        for question in document["questions"]
    ]
    queries = mini.encode_queries([question for question, _ in asked])
    right = np.array([chunk for _, chunk in asked])

    def reciprocal_rank(vectors: Vectors) -> float:
        scores = queries @ vectors.T
        ranks = (scores > np.take_along_axis(scores, right[:, None], axis=1)).sum(axis=1) + 1
        return float((1 / ranks).mean())

    late = reciprocal_rank(np.concatenate(mini.encode_chunks(texts)))
    naive = reciprocal_rank(mini.encode_documents([chunk for chunks in texts for chunk in chunks]))
    assert late > naive + 0.05
