"""EmbedDocuments and EmbedQueries: a batch of rows in, the same rows with vectors out. Knows Ray Data's batches, no stores."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, TypedDict, Unpack, get_args

import numpy as np
from numpy.typing import NDArray

from taskvec import EncodeOptions, Encoder, Task, Usage, quantize
from taskvec.integration import DEFAULT_MODEL, DOCUMENT_TASK, QUERY_TASK, LoadSettings, check_text
from taskvec_integrations.ray.workers import load_encoder
from taskvec_integrations.task_choice import TaskChoice, choose_task
from taskvec_integrations.truncation import warn_of_truncation

ColumnBatch = Mapping[str, NDArray[Any]]
"""Columns by name, as Ray Data hands them out by default (batch_format="numpy")."""

BatchPrecision = Literal["float32", "float16", "binary", "ubinary"]
"""A precision that every vector has by itself; int8 and uint8 need ranges, which batches would not share."""
BATCH_PRECISIONS: tuple[BatchPrecision, ...] = get_args(BatchPrecision)


class LoadOptions(TypedDict, total=False):
    """How the model is loaded in each actor, see `Encoder.from_pretrained`."""

    revision: str | None
    device: str | None
    dtype: str | None
    max_batch_tokens: int | None
    max_bodies: int | None
    merge_adapters: bool
    cache_dir: str | Path | None
    local_files_only: bool


class EmbedOptions(LoadOptions, total=False):
    """What every embedding class takes beside the model; see `EmbedDocuments`."""

    text_column: str | None
    output_column: str
    id_column: str
    dimensions: int | None
    task: TaskChoice
    precision: BatchPrecision


class BatchEmbedder:
    """What the embedding classes share: settings, checked when they are given, and one encoder a process."""

    operation: ClassVar[Task]
    default_column: ClassVar[str] = "text"

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        *,
        text_column: str | None = None,
        output_column: str = "embedding",
        id_column: str = "id",
        dimensions: int | None = None,
        task: TaskChoice = "auto",
        precision: BatchPrecision = "float32",
        **load: Unpack[LoadOptions],
    ) -> None:
        self._task = choose_task(task, self.operation)
        self._column = self.default_column if text_column is None else text_column
        self._output = output_column
        self._id = id_column
        self._dimensions = check_dimensions(dimensions)
        if precision not in BATCH_PRECISIONS:
            raise ValueError(f"precision is {precision!r}: use one of {', '.join(BATCH_PRECISIONS)} (int8 needs ranges)")
        self._precision = precision
        if self._column == output_column:
            raise ValueError(f"text_column and output_column are both {output_column!r}: the texts would be lost")
        LoadSettings(model, **load)  # values that can never load are an error here
        self._model = str(model)
        self._load = load
        self._encoder.encode([], task=self._task, dimensions=dimensions)  # and settings that this model cannot serve

    @cached_property
    def _encoder(self) -> Encoder:
        return load_encoder(self._model, self._load)

    def _options(self, usage: Usage) -> EncodeOptions:
        return {"task": self._task, "dimensions": self._dimensions, "usage": usage}

    def _quantize(self, vectors: NDArray[np.float32]) -> NDArray[Any]:
        values: NDArray[Any] = np.asarray(quantize(vectors, self._precision))
        return values

    def _column_values(self, batch: ColumnBatch) -> Sequence[Any]:
        """The column of texts; TypeError or ValueError that say what the batch is."""
        if not isinstance(batch, Mapping):
            raise TypeError(f"a batch is {type(batch).__name__}: leave batch_format of map_batches out, or use 'numpy'")
        if self._column not in batch:
            raise ValueError(f"there is no column {self._column!r}, only {', '.join(batch)}: name another with text_column")
        return list(batch[self._column])

    def _describe_row(self, batch: ColumnBatch, row: int) -> str:
        """What messages call a row."""
        id = f" ({self._id} {to_python(batch[self._id][row])!r})" if self._id in batch else ""
        return f"row {row} of a batch{id}: {self._column!r}"

    def _add_column(self, batch: ColumnBatch, vectors: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return {**batch, self._output: vectors}


class RowTextEmbedder(BatchEmbedder):
    """A text a row."""

    def __call__(self, batch: ColumnBatch) -> dict[str, NDArray[Any]]:
        """Embed a batch, as `Dataset.map_batches` asks for.

        Args:
            batch: Columns by name.

        Returns:
            The batch with a column of vectors (rows, dimensions).

        Raises:
            TypeError: A row is not a text; the message names it.
            ValueError: There is no such column, or a text cannot be encoded.
        """
        texts = [require_text(text, self._describe_row(batch, row)) for row, text in enumerate(self._column_values(batch))]
        usage = Usage()
        vectors = self._encoder.encode(texts, **self._options(usage))
        warn_of_truncation(usage, self._encoder)
        return self._add_column(batch, self._quantize(vectors))


class EmbedDocuments(RowTextEmbedder):
    """Vectors of texts that are to be found, for `Dataset.map_batches`: a column of texts in, a column of vectors beside it.

        dataset.map_batches(
            EmbedDocuments,
            fn_constructor_kwargs={"model": "mini", "dimensions": 256},
            compute=ray.data.ActorPoolStrategy(size=8),
            num_gpus=1,
            batch_size=1024,
        )

    Every actor loads the model once, on the GPU that Ray gives it, else on the CPU with as many threads as it has CPUs. Vectors
    are a tensor column (dimensions,). Texts longer than the model's context are cut, and a warning in the actor's log says how
    many; `EmbedChunks` never cuts.

    Args:
        model: A hub id, a folder or "mini".
        text_column: The column of texts, by default "text".
        output_column: The column of vectors that is added.
        id_column: The column that names rows in errors, where there is one.
        dimensions: The length of a vector; None is the model's full width.
        task: Another task than retrieval.passage, None for the bare model.
        precision: What the numbers of a vector are: float32, float16, or bits as binary and ubinary.
        **load: How the model is loaded, as `Encoder.from_pretrained` takes it.

    Raises:
        TypeError: An option is unknown or of another type.
        ValueError: The model cannot serve these settings.
    """

    operation = DOCUMENT_TASK


class EmbedQueries(RowTextEmbedder):
    """`EmbedDocuments` for texts that search: the task is retrieval.query."""

    operation = QUERY_TASK


def check_dimensions(dimensions: int | None) -> int | None:
    """A whole number from 1, or None; whether it is beyond the model's width shows when the model is loaded."""
    if dimensions is not None and (not isinstance(dimensions, int) or isinstance(dimensions, bool)):
        raise TypeError(f"dimensions is {dimensions!r}: a whole number or None was expected")
    if dimensions is not None and dimensions < 1:
        raise ValueError(f"dimensions is {dimensions}: use 1 or more, or None for the model's full width")
    return dimensions


def require_text(text: object, place: str) -> str:
    """A text that can be encoded; TypeError or ValueError that names its place and the remedy."""
    if text is None or isinstance(text, float):
        raise TypeError(f"{place} is missing: drop such rows first, with Dataset.filter")
    return check_text(text, place)


def to_python(value: Any) -> Any:
    """A value as Python's own type instead of numpy's."""
    return value.item() if isinstance(value, np.generic) else value
