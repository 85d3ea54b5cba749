"""How good the vectors are: retrieval (nDCG@10, recall, reciprocal rank) and similarity (Spearman) on sets given by path.

    python benchmarks/quality.py --model FOLDER --retrieval xquad.en.json --retrieval benchmarks/data/anaphora.json --sts stsb.csv
    python benchmarks/quality.py --model jinaai/jina-embeddings-v3-hf --model st:sentence-transformers/all-MiniLM-L6-v2 ...

Retrieval sets: SQuAD-format JSON (a question belongs to its paragraph; the paragraphs of an article are the chunks of one
document), a BEIR folder (corpus.jsonl, queries.jsonl, qrels/test.tsv; each text is a document of its own), or documents with
chunks and questions as in benchmarks/data/anaphora.json. Similarity sets: CSV files of sentence, sentence, score.

Each model is run with each pair of tasks, late chunking, precision and number of dimensions; every row is compared with the first
of its set by a paired bootstrap. Documents are stored at the precision, queries stay float32, as stores that rescore have it.
Metrics are those of ir_measures (trec_eval) and scipy.
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import ir_measures
import numpy as np
import scipy.stats
import typer
from ir_measures import RR, R, nDCG
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from taskvec import Encoder, calibrate, quantize
from taskvec.devices import DTYPES
from taskvec.pooling import cut_dimensions

Vectors = NDArray[np.float32]
Late = Literal["off", "on", "both"]

MEASURES = {"nDCG@10": nDCG @ 10, "R@1": R @ 1, "R@10": R @ 10, "RR": RR @ 10}
RESAMPLES = 2000
DEPTH = 100
PAIR = "retrieval.query+retrieval.passage"


@dataclass(frozen=True)
class RetrievalSet:
    """Documents as lists of chunks, queries, and for each query the grades of relevant chunks by their position overall."""

    name: str
    documents: list[list[str]]
    queries: list[str]
    relevant: list[dict[int, int]]

    @classmethod
    def read(cls, path: Path) -> "RetrievalSet":
        """Read a set in any of the three formats."""
        if path.is_dir():
            return cls._beir(path)
        content = json.loads(path.read_text(encoding="utf-8"))
        reader = cls._squad if "data" in content else cls._chunked
        return reader(path.stem, content)

    @classmethod
    def _squad(cls, name: str, content: dict[str, Any]) -> "RetrievalSet":
        documents = [[paragraph["context"] for paragraph in article["paragraphs"]] for article in content["data"]]
        paragraphs = [paragraph for article in content["data"] for paragraph in article["paragraphs"]]
        asked = [(qa["question"], {i: 1}) for i, paragraph in enumerate(paragraphs) for qa in paragraph["qas"]]
        return cls(name, documents, [question for question, _ in asked], [relevant for _, relevant in asked])

    @classmethod
    def _chunked(cls, name: str, content: dict[str, Any]) -> "RetrievalSet":
        documents = [document["chunks"] for document in content["documents"]]
        starts = np.cumsum([0, *map(len, documents)])
        asked = [
            (question["question"], {int(start) + question["chunk"]: 1})
            for start, document in zip(starts, content["documents"], strict=False)
            for question in document["questions"]
        ]
        return cls(name, documents, [question for question, _ in asked], [relevant for _, relevant in asked])

    @classmethod
    def _beir(cls, folder: Path) -> "RetrievalSet":
        texts = {row["_id"]: f"{row.get('title', '')} {row['text']}".strip() for row in _jsonl(folder / "corpus.jsonl")}
        queries = {row["_id"]: row["text"] for row in _jsonl(folder / "queries.jsonl")}
        places = {identifier: i for i, identifier in enumerate(texts)}
        grades: dict[str, dict[int, int]] = {}
        with (folder / "qrels" / "test.tsv").open(encoding="utf-8") as file:
            for query, document, grade in list(csv.reader(file, delimiter="\t"))[1:]:
                if int(grade) > 0:
                    grades.setdefault(query, {})[places[document]] = int(grade)
        return cls(folder.name, [[text] for text in texts.values()], [queries[q] for q in grades], list(grades.values()))


@dataclass(frozen=True)
class SimilaritySet:
    """Sentence pairs and how similar people found them."""

    name: str
    left: list[str]
    right: list[str]
    scores: list[float]

    @classmethod
    def read(cls, path: Path) -> "SimilaritySet":
        """Read a CSV file of sentence, sentence, score, without a header."""
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
        return cls(path.stem, [row[0] for row in rows], [row[1] for row in rows], [float(row[2]) for row in rows])


class Model(Protocol):
    """What is evaluated: full-width unit vectors for queries and for documents given as lists of chunks."""

    def texts(self, texts: list[str], task: str | None) -> Vectors: ...
    def chunks(self, documents: list[list[str]], task: str | None, late: bool) -> Vectors: ...


@dataclass(frozen=True)
class TaskvecModel:
    """An encoder of this project."""

    encoder: Encoder

    def texts(self, texts: list[str], task: str | None) -> Vectors:
        return self.encoder.encode(texts, task=task, progress=True)

    def chunks(self, documents: list[list[str]], task: str | None, late: bool) -> Vectors:
        if not late:
            return self.texts([chunk for chunks in documents for chunk in chunks], task)
        return np.concatenate(self.encoder.encode_chunks(documents, task=task, progress=True))


@dataclass(frozen=True)
class PlainModel:
    """A sentence-transformers model as a yardstick: it knows no tasks and no late chunking."""

    model: Any

    def texts(self, texts: list[str], task: str | None) -> Vectors:
        vectors: Vectors = self.model.encode(texts, normalize_embeddings=True, show_progress_bar=True)
        return vectors

    def chunks(self, documents: list[list[str]], task: str | None, late: bool) -> Vectors:
        return self.texts([chunk for chunks in documents for chunk in chunks], task)


def load(name: str) -> Model:
    """A model by name: ``st:NAME`` through sentence-transformers, else through taskvec, ``NAME:DTYPE`` in a dtype."""
    if not name.startswith("st:"):
        model, _, dtype = name.rpartition(":")
        return TaskvecModel(Encoder.from_pretrained(model, dtype=dtype) if dtype in DTYPES else Encoder.from_pretrained(name))
    from sentence_transformers import SentenceTransformer

    return PlainModel(SentenceTransformer(name.removeprefix("st:")))


@dataclass
class Row:
    """One line of the result: what was run, its metrics, and the difference of the first metric to the set's first row."""

    dataset: str
    model: str
    tasks: str
    late: bool
    precision: str
    dimensions: int
    metrics: dict[str, float]
    difference: float = 0.0
    low: float = 0.0
    high: float = 0.0


def stored(vectors: Vectors, precision: str) -> Vectors:
    """What a store gives back at a precision, as float32."""
    if precision in ("int8", "uint8"):
        lows, highs = calibrate(vectors)
        steps = np.asarray(quantize(vectors, precision, ranges=(lows, highs)), dtype=np.float32)
        restored: Vectors = (steps + (128 if precision == "int8" else 0)) / 255 * (highs - lows) + lows
        return restored
    if precision in ("binary", "ubinary"):
        return np.where(vectors > 0, np.float32(1), np.float32(-1))
    return np.asarray(quantize(vectors, precision), dtype=np.float32)


def retrieval_metrics(scores: NDArray[np.float32], relevant: list[dict[int, int]]) -> dict[str, NDArray[np.float64]]:
    """Each measure for each query: scores (queries, chunks)."""
    qrels = {str(q): {str(d): grade for d, grade in grades.items()} for q, grades in enumerate(relevant)}
    top = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
    run = {str(q): {str(d): float(scores[q, d]) for d in ranked} for q, ranked in enumerate(top)}
    values = {name: np.zeros(len(relevant)) for name in MEASURES}
    names = {measure: name for name, measure in MEASURES.items()}
    for metric in ir_measures.iter_calc(list(MEASURES.values()), qrels, run):
        values[names[metric.measure]][int(metric.query_id)] = metric.value
    return values


def bootstrap(statistic: Callable[..., float], *samples: NDArray[np.float64]) -> tuple[float, float]:
    """95 % interval of a statistic over samples that are resampled together."""
    result = scipy.stats.bootstrap(
        samples, statistic, paired=True, vectorized=False, n_resamples=RESAMPLES, method="percentile", rng=0
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def spearman(scores: NDArray[np.float64], gold: NDArray[np.float64]) -> float:
    """Rank correlation."""
    return float(scipy.stats.spearmanr(scores, gold).statistic)


def parse_pair(pair: str) -> tuple[str | None, str | None]:
    """The query's and the documents' task of ``query+document``; ``none`` is the bare model."""
    query, plus, document = pair.partition("+")
    if not plus:
        raise typer.BadParameter(f"{pair!r} is not a pair of tasks like {PAIR} or none+none")
    return (None if query == "none" else query), (None if document == "none" else document)


def evaluate_retrieval(
    dataset: RetrievalSet,
    models: Mapping[str, Model],
    pairs: list[str],
    late: list[bool],
    precisions: list[str],
    sizes: list[int],
) -> Iterator[Row]:
    """Rows for every combination; vectors are made once for each model, pair of tasks and kind of chunking."""
    first: NDArray[np.float64] | None = None
    for (name, model), pair, lately in product(models.items(), pairs, late):
        query_task, document_task = parse_pair(pair)
        queries, chunks = model.texts(dataset.queries, query_task), model.chunks(dataset.documents, document_task, lately)
        for precision, size in product(precisions, widths(sizes, queries.shape[1])):
            scores = cut_dimensions(queries, size) @ stored(cut_dimensions(chunks, size), precision).T
            values = retrieval_metrics(scores, dataset.relevant)
            row = Row(dataset.name, name, pair, lately, precision, size, {key: float(v.mean()) for key, v in values.items()})
            main = values["nDCG@10"]
            if first is None:
                first = main
            elif len(main) > 1:
                row.difference = float((main - first).mean())
                row.low, row.high = bootstrap(lambda ours, theirs: float((ours - theirs).mean()), main, first)
            yield row


def evaluate_similarity(
    dataset: SimilaritySet, models: dict[str, Model], tasks: list[str], precisions: list[str], sizes: list[int]
) -> Iterator[Row]:
    """Spearman's rank correlation of the cosine with people's scores."""
    gold = np.array(dataset.scores)
    first: NDArray[np.float64] | None = None
    for (name, model), task in product(models.items(), tasks):
        vectors = model.texts([*dataset.left, *dataset.right], None if task == "none" else task)
        for precision, size in product(precisions, widths(sizes, vectors.shape[1])):
            left, right = np.split(cut_dimensions(vectors, size), 2)
            similar = (left * stored(right, precision)).sum(axis=1).astype(np.float64)
            row = Row(dataset.name, name, task, False, precision, size, {"Spearman": spearman(similar, gold)})
            if first is None:
                first = similar
            else:
                row.difference = row.metrics["Spearman"] - spearman(first, gold)
                row.low, row.high = bootstrap(lambda a, b, g: spearman(a, g) - spearman(b, g), similar, first, gold)
            yield row


def widths(sizes: list[int], width: int) -> list[int]:
    """The sizes asked for that the model has, the full width where none was asked for."""
    return [size for size in sizes if size <= width] or [width]


def short(model: str) -> str:
    """The last two parts of a model's name or path."""
    return "/".join(model.split("/")[-2:])


def show(rows: list[Row]) -> None:
    """A table for each set, differences with their interval; a star where it does not hold zero."""
    for dataset in dict.fromkeys(row.dataset for row in rows):
        of_set = [row for row in rows if row.dataset == dataset]
        metrics = list(of_set[0].metrics)
        table = Table("model", "tasks", "late", "precision", "dimensions", *metrics, f"{metrics[0]} to first", title=dataset)
        for row in of_set:
            star = "*" if row.low * row.high > 0 else ""
            change = f"{row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}]{star}" if row is not of_set[0] else ""
            values = (f"{row.metrics[metric]:.3f}" for metric in metrics)
            table.add_row(
                short(row.model), row.tasks, "yes" if row.late else "no", row.precision, str(row.dimensions), *values, change
            )
        Console(width=160).print(table)


def draw(rows: list[Row], path: Path) -> None:
    """Quality against dimensions, a panel for each set."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    names = list(dict.fromkeys(row.dataset for row in rows))
    figure, panels = pyplot.subplots(1, len(names), figsize=(6 * len(names), 4), squeeze=False)
    for panel, name in zip(panels[0], names, strict=True):
        of_set = [row for row in rows if row.dataset == name]
        metric = next(iter(of_set[0].metrics))
        for label in dict.fromkeys((row.model, row.tasks, row.late, row.precision) for row in of_set):
            line = [row for row in of_set if (row.model, row.tasks, row.late, row.precision) == label]
            line.sort(key=lambda row: row.dimensions)
            text = f"{short(label[0])}, {label[1]}{', late' if label[2] else ''}, {label[3]}"
            panel.plot([row.dimensions for row in line], [row.metrics[metric] for row in line], marker="o", label=text)
        panel.set(title=name, xlabel="dimensions", ylabel=metric, xscale="log")
        sizes = sorted({row.dimensions for row in of_set})
        panel.set_xticks(sizes, [str(size) for size in sizes])
        panel.minorticks_off()
        panel.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.15))
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main(
    model: Annotated[list[str], typer.Option(help="hub id or folder, as in mini:float32 with a dtype, or st:NAME; repeat")],
    retrieval: Annotated[list[Path] | None, typer.Option(exists=True, help="SQuAD JSON, BEIR folder or chunked JSON")] = None,
    sts: Annotated[list[Path] | None, typer.Option(exists=True, help="CSV of sentence, sentence, score")] = None,
    tasks: Annotated[list[str] | None, typer.Option(help=f"query+document tasks, none for the bare model; {PAIR}")] = None,
    sts_task: Annotated[list[str] | None, typer.Option(help="task of similarity sets; text-matching")] = None,
    late_chunking: Annotated[Late, typer.Option(help="off, on or both")] = "off",
    precision: Annotated[list[str] | None, typer.Option(help="of the stored documents; float32")] = None,
    dimensions: Annotated[list[int] | None, typer.Option(help="full width")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="write all rows there")] = None,
    plot: Annotated[Path | None, typer.Option(help="write a PNG of quality against dimensions there")] = None,
) -> None:
    """Evaluate models on retrieval and similarity sets."""
    models = {name: load(name) for name in model}
    late = {"off": [False], "on": [True], "both": [False, True]}[late_chunking]
    precisions, sizes = precision or ["float32"], dimensions or []
    rows: list[Row] = []
    for path in retrieval or []:
        dataset = RetrievalSet.read(path)
        rows += evaluate_retrieval(dataset, models, tasks or [PAIR], late, precisions, sizes)
    for path in sts or []:
        rows += evaluate_similarity(SimilaritySet.read(path), models, sts_task or ["text-matching"], precisions, sizes)
    if not rows:
        raise typer.BadParameter("name at least one set with --retrieval or --sts")
    show(rows)
    if json_file:
        json_file.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    if plot:
        draw(rows, plot)


def _jsonl(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


if __name__ == "__main__":
    typer.run(main)
