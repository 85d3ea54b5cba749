"""Where `taskvec embed` puts vectors: JSON lines, Parquet or npy, and as which precision. A file is whole or has another name.

A file is written beside its place under .partial and renamed when all is in it.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from taskvec import calibrate, quantize
from taskvec.integration import PRECISIONS, Vectors
from taskvec_integrations.extras import require
from taskvec_integrations.ingestion.backend import Vector

Values = NDArray[np.generic] | list[str]
"""Vectors of a batch in their precision: (n, d), or n strings for base64."""
RANGED = ("int8", "uint8")


class Embedded(NamedTuple):
    """A chunk and its vector (dimensions,)."""

    id: str
    chunk: int
    text: str
    vector: Vector


class Quantizer:
    """Vectors (n, d) to a precision; int8 and uint8 by the ranges in a file, which is made of the first vectors if need be."""

    def __init__(self, precision: str, ranges: Path | None) -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"unknown precision {precision!r}: use one of {', '.join(PRECISIONS)}")
        if (ranges is not None) != (precision in RANGED):
            raise ValueError(
                f"--ranges belongs to int8 and uint8, not to {precision}"
                if ranges
                else f"{precision} needs ranges, the same for documents and queries: add --ranges ranges.npy (made if need be)"
            )
        if ranges is not None and ranges.suffix != ".npy":
            raise ValueError(f"--ranges {ranges} has to end in .npy, which is its format")
        self._precision = precision
        self._file = ranges
        self._ranges = np.load(ranges) if ranges and ranges.exists() else None

    def __call__(self, vectors: Vectors) -> Values:
        """Convert a batch."""
        if self._file and self._ranges is None:
            self._ranges = np.stack(calibrate(vectors))
            np.save(self._file, self._ranges)
        values = quantize(vectors, self._precision, ranges=None if self._ranges is None else (self._ranges[0], self._ranges[1]))
        return [values] if isinstance(values, str) else values


class Writer(Protocol):
    """Takes batches, then is closed; `keeps_ids`: what is read back says whose a vector is."""

    keeps_ids: bool

    def write(self, batch: Sequence[Embedded], values: Values) -> None:
        """Chunks with their vectors in the precision that is wanted."""

    def close(self) -> None:
        """All is written."""


class JsonLines:
    """{"id": ..., "chunk": ..., "text": ..., "embedding": [...] or a base64 string} a line."""

    keeps_ids = True

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, batch: Sequence[Embedded], values: Values) -> None:
        """A line a chunk; numbers are the shortest that are the same float32."""
        for one, vector in zip(batch, values, strict=True):
            fields = json.dumps({"id": one.id, "chunk": one.chunk, "text": one.text}, ensure_ascii=False)
            shown = json.dumps(vector) if isinstance(vector, str) else f"[{', '.join(vector.astype(str))}]"
            self._file.write(f'{fields[:-1]}, "embedding": {shown}}}\n'.encode())

    def close(self) -> None:
        """Flush."""
        self._file.flush()


class Npy:
    """An array (n, d) in NumPy's format; its header, which has n in it, is written again at the end, at the same length."""

    keeps_ids = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._rows = 0
        self._array: NDArray[np.generic] | None = None

    def write(self, batch: Sequence[Embedded], values: Values) -> None:
        """Rows."""
        if isinstance(values, list):
            raise ValueError("base64 is text, which a .npy file does not hold: use .jsonl or .parquet")
        if self._array is None:
            self._array = values
            self._header()
        self._file.write(values.tobytes())
        self._rows += len(values)

    def close(self) -> None:
        """Put the number of rows into the header."""
        self._file.seek(0)
        self._header()

    def _header(self) -> None:
        assert self._array is not None
        shape = (self._rows, self._array.shape[1])
        header = {"descr": np.lib.format.dtype_to_descr(self._array.dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)


class Parquet:
    """Columns id, chunk, text, embedding (lists of one length, or base64 strings)."""

    keeps_ids = True

    def __init__(self, file: IO[bytes]) -> None:
        require("pyarrow", "parquet")
        self._arrow: Any = require("pyarrow", "parquet")
        self._parquet: Any = require("pyarrow.parquet", "parquet")
        self._file = file
        self._writer: Any = None

    def write(self, batch: Sequence[Embedded], values: Values) -> None:
        """A row group."""
        arrow = self._arrow
        ids, chunks, texts, _ = zip(*batch, strict=True)
        if isinstance(values, list):
            embeddings = arrow.array(values, arrow.string())
        else:
            embeddings = arrow.FixedSizeListArray.from_arrays(arrow.array(values.reshape(-1)), values.shape[1])
        columns = {"id": arrow.array(ids), "chunk": arrow.array(chunks, arrow.int32()), "text": arrow.array(texts)}
        table = arrow.table({**columns, "embedding": embeddings})
        self._writer = self._writer or self._parquet.ParquetWriter(self._file, table.schema)
        self._writer.write_table(table)

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()


WRITERS: Mapping[str, Callable[[IO[bytes]], Writer]] = {".jsonl": JsonLines, ".npy": Npy, ".parquet": Parquet}
"""By the end of the output's name."""


@contextmanager
def open_output(path: Path | None) -> Iterator[Writer]:
    """What writes to a file, or JSON lines to stdout; where the block fails, nothing is left of the file."""
    if path is None:
        yield JsonLines(sys.stdout.buffer)
        return
    if path.suffix not in WRITERS:
        raise ValueError(f"{path} ends in {path.suffix or 'nothing'}: an output ends in {', '.join(WRITERS)}")
    path = path.resolve()  # a link stays one
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with _create(partial, path) as file:
            writer = WRITERS[path.suffix](file)
            yield writer
            writer.close()
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _create(partial: Path, path: Path) -> IO[bytes]:
    try:
        return partial.open("wb")
    except OSError as error:
        raise type(error)(f"{path} cannot be written: {error.strerror}") from None
