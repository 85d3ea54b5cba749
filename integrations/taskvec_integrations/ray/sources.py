"""What `ingest_dataset` reads: a Ray Dataset, one of Hugging Face, or files, as a Dataset and a function from rows to documents.

Files are read by the same code as on the command line, on the caller's machine, so that ids and payloads are the same.
"""

import pickle
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import ray.data
from ray.data import Dataset, Datasource, ReadTask
from ray.data.block import BlockMetadata

from taskvec_integrations.files.formats import Row
from taskvec_integrations.files.source_files import SourceFile
from taskvec_integrations.files.sources import Columns, FileSource
from taskvec_integrations.ingestion.documents import Input
from taskvec_integrations.ray.parts import Reader

T = TypeVar("T")

DOCUMENT_COLUMN = "document"
BLOCK_DOCUMENTS = 64
"""Documents in a block that a read task hands on."""


def open_dataset(dataset: Any, columns: Columns) -> tuple[Dataset, Reader, int | None]:
    """Open what `ingest_dataset` was given.

    Args:
        dataset: A Ray or Hugging Face Dataset, paths, or a FileSource.
        columns: Which columns are used.

    Returns:
        The rows, how they become documents, and how many there are (None where that is not known).

    Raises:
        TypeError: It is something else.
        ValueError: A column is missing, or there is nothing to read.
        OSError: A file cannot be read.
    """
    if isinstance(dataset, Dataset):
        _check_columns(dataset, columns)
        return dataset, partial(read_rows, columns), None
    if type(dataset).__module__.partition(".")[0] == "datasets":
        return open_dataset(ray.data.from_huggingface(dataset), columns)
    if isinstance(dataset, str | Path):
        dataset = [dataset]
    if isinstance(dataset, Sequence) and all(isinstance(name, str | Path) for name in dataset):
        dataset = FileSource.open([str(name) for name in dataset], columns)
    if not isinstance(dataset, FileSource):
        raise TypeError(f"dataset is {type(dataset).__name__}: a Ray or Hugging Face Dataset, or paths of files were expected")
    return ray.data.read_datasource(FileDatasource(dataset)), read_pickled, dataset.total


def read_rows(columns: Columns, table: pa.Table) -> Iterator[Input]:
    """Make a document of each row of a table."""
    source = FileSource((), columns, None)
    for values in table.to_pylist():
        yield source.to_document(Row(f"the row {reprlib.repr(values)}", values), 0)


def read_pickled(table: pa.Table) -> Iterator[Input]:
    """Unpickle the documents that `FileDatasource` has read."""
    for document in table[DOCUMENT_COLUMN].to_pylist():
        yield pickle.loads(document)


class FileDatasource(Datasource):
    """Documents of files as rows with one pickled document each, read on the caller's machine, which has the files.

    Args:
        source: The files; ValueError for stdin.
    """

    def __init__(self, source: FileSource) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if not source.files:
            raise ValueError("stdin is read by one process: save it to a file, or leave Ray out")
        self._source = source

    @property
    def supports_distributed_reads(self) -> bool:
        """Other machines may not have the files."""
        return False

    def estimate_inmemory_data_size(self) -> int | None:
        """The size on disk."""
        return sum(file.path.stat().st_size for file in self._source.files)

    def get_read_tasks(self, parallelism: int, *args: Any, **kwargs: Any) -> list[ReadTask]:
        """Tasks that read some files each."""
        each = -(-len(self._source.files) // max(parallelism, 1))
        return [self._read_task(files) for files in _batched(self._source.files, each)]

    def _read_task(self, files: Sequence[SourceFile]) -> ReadTask:
        source = replace(self._source, files=[file._replace(path=file.path.absolute()) for file in files])
        return ReadTask(
            lambda: _blocks(source),
            BlockMetadata(num_rows=None, size_bytes=None, input_files=tuple(file.name for file in files), exec_stats=None),
        )


def _blocks(documents: Iterable[Input]) -> Iterator[pa.Table]:
    for some in _batched(documents, BLOCK_DOCUMENTS):
        yield pa.table({DOCUMENT_COLUMN: [pickle.dumps(document) for document in some]})


def _batched(items: Iterable[T], number: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while some := list(islice(iterator, number)):
        yield some


def _check_columns(dataset: Dataset, columns: Columns) -> None:
    names = dataset.columns() or []
    for column, option in columns.required.items():
        if column not in names:
            argument = option.removeprefix("--").replace("-", "_")
            raise ValueError(f"the dataset has no column {column!r}, it has {', '.join(names)}: name another with {argument}")
