"""The evaluation program: its readers, its arithmetic on vectors whose quality is known, and one run from end to end."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from support.paths import ROOT
from taskvec.pooling import cut_dimensions

sys.path.insert(0, str(ROOT / "benchmarks"))

import quality
import topics

SQUAD = {
    "data": [
        {
            "paragraphs": [
                {"context": "Bread rises by yeast.", "qas": [{"question": "Why does bread rise?"}, {"question": "yeast?"}]},
                {"context": "It is baked hot.", "qas": []},
            ]
        },
        {"paragraphs": [{"context": "Snow is white.", "qas": [{"question": "What is white?"}]}]},
    ]
}


@dataclass(frozen=True)
class Known:
    """One-hot vectors: query i finds chunk `answers[i]`; documents do not depend on task or chunking."""

    answers: list[int]
    width: int = 8

    def texts(self, texts: list[str], task: str | None) -> np.ndarray:
        return np.eye(self.width, dtype=np.float32)[self.answers]

    def chunks(self, documents: list[list[str]], task: str | None, late: bool) -> np.ndarray:
        return np.eye(self.width, dtype=np.float32)[: sum(map(len, documents))]


@pytest.fixture
def squad(tmp_path: Path) -> Path:
    path = tmp_path / "squad.json"
    path.write_text(json.dumps(SQUAD))
    return path


def test_reading_squad(squad: Path) -> None:
    dataset = quality.RetrievalSet.read(squad)
    assert dataset.documents == [["Bread rises by yeast.", "It is baked hot."], ["Snow is white."]]
    assert dataset.queries == ["Why does bread rise?", "yeast?", "What is white?"]
    assert dataset.relevant == [{0: 1}, {0: 1}, {2: 1}]


def test_reading_chunked_documents() -> None:
    dataset = quality.RetrievalSet.read(ROOT / "benchmarks" / "data" / "anaphora.json")
    assert len(dataset.documents) >= 60
    flat = [chunk for chunks in dataset.documents for chunk in chunks]
    firsts = np.cumsum([0, *map(len, dataset.documents)])
    for relevant in dataset.relevant:
        (place,) = relevant
        assert 0 <= place < len(flat)
        assert place not in firsts


def test_reading_beir(tmp_path: Path) -> None:
    (tmp_path / "qrels").mkdir()
    corpus = [{"_id": "d1", "title": "Bread", "text": "rises"}, {"_id": "d2", "text": "Snow"}]
    queries = [{"_id": "q1", "text": "why"}, {"_id": "q2", "text": "unjudged"}]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td2\t2\nq1\td1\t0\n")
    dataset = quality.RetrievalSet.read(tmp_path)
    assert dataset.documents == [["Bread rises"], ["Snow"]]
    assert (dataset.queries, dataset.relevant) == (["why"], [{1: 2}])


def test_perfect_and_wrong_vectors_get_what_they_deserve(squad: Path) -> None:
    dataset = quality.RetrievalSet.read(squad)
    models = {"right": Known([0, 0, 2]), "half": Known([0, 0, 1]), "wrong": Known([1, 2, 1])}
    right, half, wrong = quality.evaluate_retrieval(dataset, models, ["none+none"], [False], ["float32"], [])
    assert right.metrics == {"nDCG@10": 1, "R@1": 1, "R@10": 1, "RR": 1}
    assert half.metrics["R@1"] == pytest.approx(2 / 3)
    assert half.difference == pytest.approx(half.metrics["nDCG@10"] - 1)
    assert wrong.metrics["R@1"] == 0
    assert wrong.low <= wrong.difference <= wrong.high < 0


@pytest.mark.parametrize("precision", ["float16", "int8", "uint8"])
def test_stored_precisions_stay_close(precision: str) -> None:
    vectors = cut_dimensions(np.random.default_rng(0).normal(size=(300, 32)).astype(np.float32), 24)
    assert np.abs(quality.stored(vectors, precision) - vectors).max() < 0.005
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)


def test_similarity_counts_ranks() -> None:
    gold = np.array([0.0, 1.0, 2.0, 3.0])
    assert quality.spearman(np.array([0.1, 0.2, 0.3, 0.9]), gold) == pytest.approx(1)
    assert quality.spearman(-gold, gold) == pytest.approx(-1)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "quality.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)


def test_a_run_from_end_to_end(tmp_path: Path, squad: Path, native: Path) -> None:
    sts = tmp_path / "sts.csv"
    sts.write_text('a man,a man,5.0\nsnow,bread,0.5\nyeast,"bread, yeast",3.2\nx,y,1\n')
    done = run(
        *("--model", str(native), "--retrieval", str(squad), "--sts", str(sts), "--late-chunking", "both"),
        *("--tasks", "none+none", "--tasks", quality.PAIR, "--dimensions", "64", "--dimensions", "8"),
        *("--precision", "float32", "--precision", "binary"),
        *("--json", str(tmp_path / "rows.json"), "--plot", str(tmp_path / "plot.png")),
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert len(rows) == 2 * 2 * 2 * 2 + 2 * 2
    assert {row["dataset"] for row in rows} == {"squad", "sts"}
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert "nDCG@10 to first" in done.stdout
    assert "Spearman" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--retrieval", "nowhere.json"], "does not exist"),
        ([], "name at least one set"),
        (["--retrieval", "SQUAD", "--tasks", "retrieval"], "is not a pair of tasks"),
    ],
)
def test_misuse_is_explained(arguments: list[str], message: str, native: Path, squad: Path) -> None:
    done = run("--model", str(native), *(str(squad) if part == "SQUAD" else part for part in arguments))
    assert done.returncode == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())


@dataclass(frozen=True)
class ByWord:
    """A vector for each text that says which of two words it has; `sharp` models see it, others see noise."""

    sharp: bool

    def texts(self, texts: list[str], task: str | None) -> np.ndarray:
        noise = np.random.default_rng(0).normal(size=(len(texts), 8)).astype(np.float32)
        if self.sharp and task is not None:
            noise[:, 0] += [9 if "bread" in text else -9 for text in texts]
        return noise

    def chunks(self, documents: list[list[str]], task: str | None, late: bool) -> np.ndarray:
        return self.texts([chunk for chunks in documents for chunk in chunks], task)


def test_topics_reward_what_tells_documents_apart() -> None:
    documents = [[f"{word} {i}" for i in range(10)] for word in ("bread", "snow", "bread", "snow")]
    questions = [chunk for chunks in documents for chunk in chunks]
    dataset = quality.RetrievalSet("words", documents, questions, [{i: 1} for i in range(40)])
    for kind, measure, interval in (
        ("V-measure", topics.clustering, topics.of_all),
        ("accuracy", topics.classification, topics.of_mean),
    ):
        rows = topics.evaluate(kind, measure(dataset, {"sharp": ByWord(True)}, ["none", "separation"], []), interval)
        bare, adapted = (row.metrics[kind] for row in rows)
        assert adapted > bare + 0.1
        assert rows[1].difference == pytest.approx(adapted - bare)
        assert rows[1].low <= rows[1].difference <= rows[1].high


def test_python_faq_becomes_a_beir_folder(tmp_path: Path) -> None:
    answer = "Because <em>indentation</em> is clear. " * 5
    page = f"<h1>Design</h1><p>Contents</p><h2><a>Why indent?</a><a>¶</a></h2><p>{answer}</p><h2>Notes</h2>x"
    (tmp_path / "design.html").write_text(page)
    command = [sys.executable, str(ROOT / "benchmarks" / "python_faq.py"), str(tmp_path), str(tmp_path / "faq")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    dataset = quality.RetrievalSet.read(tmp_path / "faq")
    assert dataset.queries == ["Why indent?"]
    assert dataset.documents[0][0].startswith("Because indentation is clear.")
