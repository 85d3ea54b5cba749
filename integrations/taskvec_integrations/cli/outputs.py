"""Where `taskvec embed` puts vectors: JSON lines, Parquet or npy, in a precision.

A file is written beside its place under a name that ends in .partial, and renamed when it is complete.
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
from taskvec_integrations.ingestion.points import Vector

Values = NDArray[np.generic] | list[str]
"""Vectors of a batch in their precision: (n, dimensions), or n strings for base64."""
PRECISIONS_WITH_RANGES = ("int8", "uint8")


class EmbeddedChunk(NamedTuple):
    """A chunk and its vector (dimensions,)."""

    id: str
    chunk: int
    text: str
    vector: Vector


class Quantizer:
    """Converts vectors to a precision; int8 and uint8 by the ranges in a file.

    Args:
        precision: One of PRECISIONS.
        ranges: The .npy file with the ranges (2, dimensions), for int8 and uint8 only. It is made of the first vectors if it
            does not exist.

    Raises:
        ValueError: The precision is unknown, or does not go with `ranges`.
    """

    def __init__(self, precision: str, ranges: Path | None) -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"unknown precision {precision!r}: use one of {', '.join(PRECISIONS)}")
        if (ranges is not None) != (precision in PRECISIONS_WITH_RANGES):
            raise ValueError(
                f"--ranges belongs to int8 and uint8, not to {precision}"
                if ranges
                else f"{precision} needs ranges, the same for documents and queries: add --ranges ranges.npy (made if missing)"
            )
        if ranges is not None and ranges.suffix != ".npy":
            raise ValueError(f"--ranges {ranges} has to end in .npy, which is its format")
        self._precision = precision
        self._file = ranges
        self._ranges = np.load(ranges) if ranges and ranges.exists() else None

    def quantize(self, vectors: Vectors) -> Values:
        """Convert a batch of vectors (n, dimensions)."""
        if self._file and self._ranges is None:
            self._ranges = np.stack(calibrate(vectors))
            np.save(self._file, self._ranges)
        values = quantize(vectors, self._precision, ranges=None if self._ranges is None else (self._ranges[0], self._ranges[1]))
        return [values] if isinstance(values, str) else values


class VectorWriter(Protocol):
    """Takes batches of vectors, then is closed."""

    keeps_ids: bool
    """Whether the output says which document a vector belongs to."""

    def write(self, batch: Sequence[EmbeddedChunk], values: Values) -> None:
        """Write chunks with their vectors in the precision of the output."""

    def close(self) -> None:
        """Complete the file after the last batch."""


class JsonLinesWriter:
    """Writes {"id": ..., "chunk": ..., "text": ..., "embedding": [...] or a base64 string} a line."""

    keeps_ids = True

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, batch: Sequence[EmbeddedChunk], values: Values) -> None:
        """Write a line a chunk; numbers are the shortest that read back as the same float32."""
        for chunk, vector in zip(batch, values, strict=True):
            fields = json.dumps({"id": chunk.id, "chunk": chunk.chunk, "text": chunk.text}, ensure_ascii=False)
            embedding = json.dumps(vector) if isinstance(vector, str) else f"[{', '.join(vector.astype(str))}]"
            self._file.write(f'{fields[:-1]}, "embedding": {embedding}}}\n'.encode())

    def close(self) -> None:
        """Flush the stream."""
        self._file.flush()


class NpyWriter:
    """Writes an array (n, dimensions) in NumPy's format.

    The header holds n, so it is written once more at the end; NumPy pads headers, which keeps its length.
    """

    keeps_ids = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._rows = 0
        self._array: NDArray[np.generic] | None = None

    def write(self, batch: Sequence[EmbeddedChunk], values: Values) -> None:
        """Append rows; ValueError for base64."""
        if isinstance(values, list):
            raise ValueError("base64 is text, which a .npy file does not hold: use .jsonl or .parquet")
        if self._array is None:
            self._array = values
            self._write_header()
        self._file.write(values.tobytes())
        self._rows += len(values)

    def close(self) -> None:
        """Put the number of rows into the header."""
        self._file.seek(0)
        self._write_header()

    def _write_header(self) -> None:
        assert self._array is not None
        shape = (self._rows, self._array.shape[1])
        header = {"descr": np.lib.format.dtype_to_descr(self._array.dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)


class ParquetWriter:
    """Writes columns id, chunk, text and embedding (lists of one length, or base64 strings)."""

    keeps_ids = True

    def __init__(self, file: IO[bytes]) -> None:
        require("pyarrow", "parquet")
        self._arrow: Any = require("pyarrow", "parquet")
        self._parquet: Any = require("pyarrow.parquet", "parquet")
        self._file = file
        self._writer: Any = None

    def write(self, batch: Sequence[EmbeddedChunk], values: Values) -> None:
        """Append a row group."""
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
        """Write the footer of the file."""
        self._writer.close()


WRITERS: Mapping[str, Callable[[IO[bytes]], VectorWriter]] = {
    ".jsonl": JsonLinesWriter,
    ".npy": NpyWriter,
    ".parquet": ParquetWriter,
}
"""By the end of the output's name."""


@contextmanager
def open_output(path: Path | None) -> Iterator[VectorWriter]:
    """Open an output; where the block fails, nothing is left of the file.

    Args:
        path: The file; None is JSON lines on stdout.

    Yields:
        The writer of the file's format.

    Raises:
        ValueError: The name does not end as one of the formats.
        OSError: The file cannot be written.
    """
    if path is None:
        yield JsonLinesWriter(sys.stdout.buffer)
        return
    if path.suffix not in WRITERS:
        raise ValueError(f"{path} ends in {path.suffix or 'nothing'}: an output ends in {', '.join(WRITERS)}")
    path = path.resolve()  # replaces what a link points to, not the link
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
