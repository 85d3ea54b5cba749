"""What the separation and classification adapters are for, measured on the documents of a retrieval set.

    python benchmarks/topics.py --model mini --model st:NAME --data xquad.en.json

Clustering: the paragraphs of a random half of the documents by k-means, as many clusters as documents, twenty times; mean
V-measure against the documents, and the range that holds 95 % of the halves' differences to the set's first row.
Classification: which document a question is about, logistic regression on a few questions of each; accuracy on the rest, and
the 95 % interval of the difference by paired bootstrap over questions. Estimators and metrics are scikit-learn's.
"""

import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from quality import Model, RetrievalSet, Row, bootstrap, load, show, widths
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import v_measure_score

from taskvec.pooling import cut_dimensions

HALVES = 20
SHOTS = 4


Interval = Callable[[NDArray[np.float64], NDArray[np.float64]], tuple[float, float]]


def of_mean(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> tuple[float, float]:
    """95 % interval of the mean difference of samples that stand for others like them."""
    return bootstrap(lambda a, b: float((a - b).mean()), ours, theirs)


def of_all(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> tuple[float, float]:
    """The range that holds 95 % of the differences themselves: halves overlap, so their mean is surer than it looks."""
    low, high = np.percentile(ours - theirs, [2.5, 97.5])
    return float(low), float(high)


def evaluate(kind: str, values: Iterator[tuple[Row, NDArray[np.float64]]], interval: Interval) -> list[Row]:
    """Rows with their difference to the first one."""
    rows: list[Row] = []
    first: NDArray[np.float64] | None = None
    for row, sample in values:
        if first is None:
            first = sample
        else:
            row.difference = float((sample - first).mean())
            row.low, row.high = interval(sample, first)
        row.metrics = {kind: float(sample.mean())}
        rows.append(row)
    return rows


def clustering(
    dataset: RetrievalSet, models: dict[str, Model], tasks: list[str], sizes: list[int]
) -> Iterator[tuple[Row, NDArray[np.float64]]]:
    """V-measure on each half."""
    truth = np.array([number for number, chunks in enumerate(dataset.documents) for _ in chunks])
    half = len(dataset.documents) // 2
    generator = np.random.default_rng(0)
    halves = [np.isin(truth, generator.choice(len(dataset.documents), half, replace=False)) for _ in range(HALVES)]
    for (name, model), task in product(models.items(), tasks):
        vectors = model.chunks(dataset.documents, None if task == "none" else task, False)
        for size in widths(sizes, vectors.shape[1]):
            part = cut_dimensions(vectors, size)
            values = [
                v_measure_score(truth[chosen], KMeans(half, n_init=3, random_state=seed).fit_predict(part[chosen]))
                for seed, chosen in enumerate(halves)
            ]
            yield Row(f"{dataset.name}: paragraphs by document", name, task, False, "float32", size, {}), np.array(values)


def classification(
    dataset: RetrievalSet, models: dict[str, Model], tasks: list[str], sizes: list[int]
) -> Iterator[tuple[Row, NDArray[np.float64]]]:
    """Right or wrong for each question that is not an example."""
    owners = np.array([number for number, chunks in enumerate(dataset.documents) for _ in chunks])
    labels = np.array([owners[next(iter(relevant))] for relevant in dataset.relevant])
    order = np.random.default_rng(0).permutation(len(labels))
    examples = np.concatenate([order[labels[order] == label][:SHOTS] for label in np.unique(labels)])
    rest = np.setdiff1d(np.arange(len(labels)), examples)
    for (name, model), task in product(models.items(), tasks):
        vectors = model.texts(dataset.queries, None if task == "none" else task)
        for size in widths(sizes, vectors.shape[1]):
            # Values near one, which the regression's penalty is made for.
            part = cut_dimensions(vectors, size) * np.float32(size**0.5)
            classifier = LogisticRegression(max_iter=2000).fit(part[examples], labels[examples])
            right = (classifier.predict(part[rest]) == labels[rest]).astype(np.float64)
            yield Row(f"{dataset.name}: questions by document", name, task, False, "float32", size, {}), right


def main(
    model: Annotated[list[str], typer.Option(help="hub id, folder, mini, or st:NAME; repeat to compare")],
    data: Annotated[list[Path], typer.Option(exists=True, help="SQuAD JSON or chunked JSON")],
    dimensions: Annotated[list[int] | None, typer.Option(help="full width")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="write all rows there")] = None,
) -> None:
    """Evaluate models on clustering and few-shot classification."""
    warnings.filterwarnings("ignore", module="sklearn")
    models = {name: load(name) for name in model}
    rows: list[Row] = []
    for path in data:
        dataset = RetrievalSet.read(path)
        rows += evaluate("V-measure", clustering(dataset, models, ["none", "separation"], dimensions or []), of_all)
        rows += evaluate("accuracy", classification(dataset, models, ["none", "classification"], dimensions or []), of_mean)
    show(rows)
    if json_file:
        json_file.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    typer.run(main)
