"""What `ingest_dataset` reads: a Ray Dataset, one of Hugging Face, or files, as a Dataset and a function from rows to documents.

Files are read by the same code as on the command line, on the caller's machine, so that ids and payloads are the same.
"""

import pickle
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import ray.data
from ray.data import Dataset, Datasource, ReadTask
from ray.data.block import BlockMetadata

from taskvec_integrations.files.formats import Row
from taskvec_integrations.files.sources import Columns, File, FileSource
from taskvec_integrations.ingestion.documents import Input
from taskvec_integrations.ray.parts import Reader

T = TypeVar("T")

DOCUMENT = "document"
PICKLED = 64
"""Documents in a block that a reader hands on."""


def open_dataset(given: Any, columns: Columns) -> tuple[Dataset, Reader, int | None]:
    """The rows, how they become documents, and their number where it is known. Errors say what can be read."""
    if isinstance(given, Dataset):
        _check_columns(given, columns)
        return given, RowReader(columns), None
    if type(given).__module__.partition(".")[0] == "datasets":
        return open_dataset(ray.data.from_huggingface(given), columns)
    if isinstance(given, str | Path):
        given = [given]
    if isinstance(given, Sequence) and all(isinstance(name, str | Path) for name in given):
        given = FileSource.open([str(name) for name in given], columns)
    if not isinstance(given, FileSource):
        raise TypeError(f"dataset is {type(given).__name__}: a Ray or Hugging Face Dataset, or paths of files were expected")
    return ray.data.read_datasource(Files(given)), unpickle, given.total


@dataclass(frozen=True)
class RowReader:
    """Documents of rows with columns."""

    columns: Columns

    def __call__(self, table: pa.Table) -> Iterator[Input]:
        """One a row."""
        rows = FileSource((), self.columns, None)
        for values in table.to_pylist():
            yield rows.document(Row(f"the row {reprlib.repr(values)}", values), 0)


def unpickle(table: pa.Table) -> Iterator[Input]:
    """The documents that `Files` read."""
    for document in table[DOCUMENT].to_pylist():
        yield pickle.loads(document)


class Files(Datasource):
    """Documents of files as rows with one pickled document each, read on the caller's machine, which has them."""

    def __init__(self, source: FileSource) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if not source.files:
            raise ValueError("stdin is read by one process: save it to a file, or leave Ray out")
        self._source = source

    @property
    def supports_distributed_reads(self) -> bool:
        """Other machines need not have the files."""
        return False

    def estimate_inmemory_data_size(self) -> int | None:
        """As on disk."""
        return sum(file.path.stat().st_size for file in self._source.files)

    def get_read_tasks(self, parallelism: int, *args: Any, **kwargs: Any) -> list[ReadTask]:
        """A task for some files each."""
        each = -(-len(self._source.files) // max(parallelism, 1))
        return [self._task(files) for files in _batched(self._source.files, each)]

    def _task(self, files: Sequence[File]) -> ReadTask:
        source = replace(self._source, files=[file._replace(path=file.path.absolute()) for file in files])
        return ReadTask(
            lambda: _blocks(source),
            BlockMetadata(num_rows=None, size_bytes=None, input_files=tuple(file.name for file in files), exec_stats=None),
        )


def _blocks(documents: Iterable[Input]) -> Iterator[pa.Table]:
    for some in _batched(documents, PICKLED):
        yield pa.table({DOCUMENT: [pickle.dumps(document) for document in some]})


def _batched(items: Iterable[T], number: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while some := list(islice(iterator, number)):
        yield some


def _check_columns(dataset: Dataset, columns: Columns) -> None:
    names = dataset.columns() or []
    for column, option in columns.named.items():
        if column not in names:
            option = option.removeprefix("--").replace("-", "_")
            raise ValueError(f"the dataset has no column {column!r}, it has {', '.join(names)}: name another with {option}")
