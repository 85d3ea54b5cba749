"""Files of rows, read one row after another: JSON lines, CSV, Parquet, texts. Knows files, neither columns nor documents.

A row that cannot be read becomes an `Unreadable` in its place; a file that cannot be read is an error. A new format is a
function that reads rows, a function that counts them, and a line in FORMATS.
"""

import csv
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from uuid import UUID

from taskvec_integrations.extras import require
from taskvec_integrations.ingestion.documents import Unreadable

STDIN = "-"
DELIMITERS = ",;\t"
PARQUET_BATCH_ROWS = 1024
"""So many rows of a Parquet file are read at once."""


class Row(NamedTuple):
    """A row of a file.

    Attributes:
        place: What messages call it, such as "docs.jsonl, line 3".
        values: Its values by column.
    """

    place: str
    values: dict[str, Any]


Rows = Iterator[Row | Unreadable]


class Format(NamedTuple):
    """How one kind of file is read.

    Attributes:
        read_rows: Reads the rows of a file, one after another.
        count_rows: Counts the rows of a file; None where that would mean to read them.
    """

    read_rows: Callable[[Path], Rows]
    count_rows: Callable[[Path], int | None]


def read_json_lines(lines: Iterable[bytes], name: str) -> Rows:
    """Read an object a line; blank lines are skipped.

    Args:
        lines: The lines, with or without line ends.
        name: What messages call their origin.

    Yields:
        A row for each object, and an Unreadable for each other line.
    """
    for number, line in enumerate(lines, 1):
        place = f"{name}, line {number}"
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Unreadable(place, f"it is not JSON in UTF-8: {error}")
            continue
        if isinstance(values, dict):
            yield Row(place, values)
        else:
            yield Unreadable(place, f'it is {type(values).__name__} in JSON, an object like {{"text": ...}} was expected')


def read_lines(lines: Iterable[bytes], name: str) -> Rows:
    """Read a text a line; blank lines are skipped. Arguments are those of `read_json_lines`."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield Row(f"{name}, line {number}", {"text": line.decode().rstrip("\r\n")})
        except UnicodeDecodeError as error:
            yield Unreadable(f"{name}, line {number}", f"it is not UTF-8: {error}")


def read_text(path: Path) -> Rows:
    """Read a whole file as one text."""
    try:
        yield Row(str(path), {"text": path.read_bytes().decode("utf-8-sig")})
    except UnicodeDecodeError as error:
        yield Unreadable(str(path), f"it is not UTF-8: {error}")
    except OSError as error:
        yield Unreadable(str(path), f"it cannot be read: {error.strerror}")


def _read_json_lines_file(path: Path) -> Rows:
    with path.open("rb") as file:
        yield from read_json_lines(file, str(path))


def _read_lines_file(path: Path) -> Rows:
    with path.open("rb") as file:
        yield from read_lines(file, str(path))


def _read_csv(path: Path) -> Rows:
    """Read a header, then a row a record; the delimiter is a tab in .tsv, else the one that the header has most of."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        first = file.readline()
        file.seek(0)
        delimiter = "\t" if path.suffix.lower() == ".tsv" else max(DELIMITERS, key=first.count)
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        header = next(reader, [])
        while True:
            try:
                record = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Unreadable(f"{path}, line {reader.line_num}", f"it is not CSV: {error}")
                continue
            if record:
                yield _csv_row(f"{path}, line {reader.line_num}", header, record)


def _csv_row(place: str, header: list[str], record: list[str]) -> Row | Unreadable:
    if len(record) != len(header):
        return Unreadable(place, f"it has {len(record)} fields, the header has {len(header)}")
    if not all(field.isascii() or _is_utf8(field) for field in record):
        return Unreadable(place, "it is not UTF-8: save the file as UTF-8")
    return Row(place, dict(zip(header, record, strict=True)))


def _is_utf8(field: str) -> bool:
    return not any("\udc80" <= character <= "\udcff" for character in field)  # surrogateescape makes these of other bytes


def _read_parquet(path: Path) -> Rows:
    number = 0
    for batch in _open_parquet(path).iter_batches(PARQUET_BATCH_ROWS):
        for values in batch.to_pylist():
            yield Row(f"{path}, row {number}", values)
            number += 1


def _count_parquet_rows(path: Path) -> int:
    rows: int = _open_parquet(path).metadata.num_rows
    return rows


def _open_parquet(path: Path) -> Any:
    require("pyarrow", "parquet")
    parquet = require("pyarrow.parquet", "parquet")
    try:
        return parquet.ParquetFile(path)
    except ValueError as error:  # pyarrow's errors are ValueErrors
        raise ValueError(f"{path} is not a Parquet file: {error}") from None


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())


JSON_LINES = Format(_read_json_lines_file, _count_lines)
LINES = Format(_read_lines_file, _count_lines)
TEXT = Format(read_text, lambda path: 1)
CSV = Format(_read_csv, lambda path: None)  # a field may hold line breaks, so lines are not rows
PARQUET = Format(_read_parquet, _count_parquet_rows)
FORMATS: Mapping[str, Format] = {
    ".txt": TEXT,
    ".md": TEXT,
    ".jsonl": JSON_LINES,
    ".ndjson": JSON_LINES,
    ".csv": CSV,
    ".tsv": CSV,
    ".parquet": PARQUET,
}
"""By the end of a file's name."""


def open_stdin() -> BinaryIO:
    """Standard input as bytes."""
    return sys.stdin.buffer


def to_json_value(value: Any) -> Any:
    """Convert a value of a column to JSON: dates to ISO 8601, decimals to numbers, NaN and infinities to None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return int(value) if value.is_finite() and value == value.to_integral_value() else to_json_value(float(value))
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, dict):
        return {name: to_json_value(one) for name, one in value.items()}
    return [to_json_value(one) for one in value] if isinstance(value, list) else value
