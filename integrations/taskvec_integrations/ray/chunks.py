"""EmbedChunks: late chunking over a dataset. A row is a whole document, so that no batch can tear its chunks apart."""

from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray
from ray.data import Dataset

from taskvec import Usage
from taskvec.integration import DEFAULT_MODEL, DOCUMENT_TASK, check_flag
from taskvec_integrations.ray.embed import BatchEmbedder, ColumnBatch, EmbedOptions, require_text
from taskvec_integrations.truncation import warn_of_truncation


class EmbedChunks(BatchEmbedder):
    """Vectors of the chunks of documents, for `Dataset.map_batches`: a row is a document with a column of lists of texts.

        dataset.map_batches(EmbedChunks, fn_constructor_kwargs={"model": "mini"}, compute=ActorPoolStrategy(size=2))

    The chunks of a row are encoded together and share its context; documents beyond the model's context are read in windows. The
    vectors of a row are a tensor (chunks, dimensions) in the output column, in order. Datasets with a chunk a row go through
    `gather_chunks` first.

    Args:
        model: A hub id, a folder or "mini".
        late_chunking: False encodes each chunk alone.
        **options: Those of `EmbedDocuments`; text_column is "chunks" by default.

    Raises:
        TypeError: An option is unknown or of another type.
        ValueError: The model cannot serve these settings.
    """

    operation = DOCUMENT_TASK
    default_column = "chunks"

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        *,
        late_chunking: bool = True,
        **options: Unpack[EmbedOptions],
    ) -> None:
        check_flag("late_chunking", late_chunking)
        self._late = late_chunking
        super().__init__(model, **options)

    def __call__(self, batch: ColumnBatch) -> dict[str, NDArray[Any]]:
        """Embed a batch, as `Dataset.map_batches` asks for.

        Args:
            batch: Columns by name.

        Returns:
            The batch with a column of tensors (chunks, dimensions).

        Raises:
            TypeError: A row is not a list of texts; the message names it.
            ValueError: A row has no chunks, or there is no such column.
        """
        documents = [self._chunks(batch, row, chunks) for row, chunks in enumerate(self._column_values(batch))]
        usage = Usage()
        column = np.empty(len(documents), dtype=object)
        for row, vectors in enumerate(self._encode(documents, usage)):
            column[row] = self._quantize(vectors)
        warn_of_truncation(usage, self._encoder)
        return self._add_column(batch, column)

    def _encode(self, documents: list[list[str]], usage: Usage) -> list[NDArray[np.float32]]:
        if self._late:
            return self._encoder.encode_chunks(documents, **self._options(usage))
        ends = np.cumsum([len(chunks) for chunks in documents])
        vectors = self._encoder.encode([chunk for chunks in documents for chunk in chunks], **self._options(usage))
        return np.split(vectors, ends[:-1])

    def _chunks(self, batch: ColumnBatch, row: int, chunks: Any) -> list[str]:
        place = self._describe_row(batch, row)
        if isinstance(chunks, str | bytes) or not isinstance(chunks, list | tuple | np.ndarray):
            kind = "missing" if chunks is None else type(chunks).__name__
            raise TypeError(f"{place} is {kind}, a list of chunks was expected: gather_chunks makes them of a chunk a row")
        if not len(chunks):
            raise ValueError(f"{place} is an empty list: drop such rows first, with Dataset.filter")
        return [require_text(chunk, f"{place}, chunk {number},") for number, chunk in enumerate(chunks)]


def gather_chunks(
    dataset: Dataset, document_column: str = "document_id", order_column: str = "chunk", text_column: str = "text"
) -> Dataset:
    """Make a row a document, {"id": ..., "chunks": [...]}, of a dataset with a chunk a row.

    Groups the whole dataset (a shuffle over the cluster), because the chunks of a document may be anywhere in it.

    Args:
        dataset: A chunk a row.
        document_column: The column that identifies the document of a chunk.
        order_column: The column that chunks of a document are sorted by.
        text_column: The column with the text of a chunk.

    Returns:
        A dataset with columns id and chunks.
    """
    columns = [document_column, order_column, text_column]

    def gather(group: ColumnBatch) -> dict[str, list[Any]]:
        order = np.argsort(group[order_column], kind="stable")
        return {"id": [group[document_column][0]], "chunks": [[group[text_column][row] for row in order]]}

    return dataset.select_columns(columns).groupby(document_column).map_groups(gather, batch_format="numpy")
