"""Files of rows, read one row after another: JSON lines, CSV, Parquet, texts. Knows files, neither columns nor documents.

A row that cannot be read is an `Unreadable` in its place; a file that cannot be read is an error.
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
PARQUET_ROWS = 1024  # read at once


class Row(NamedTuple):
    """Values by column, and where they stand, for messages."""

    where: str
    values: dict[str, Any]


Rows = Iterator[Row | Unreadable]


class Format(NamedTuple):
    """How a kind of file is read, and its rows counted where that is cheap."""

    rows: Callable[[Path], Rows]
    total: Callable[[Path], int | None]


def read_json_lines(lines: Iterable[bytes], name: str) -> Rows:
    """An object a line; blank lines are none."""
    for number, line in enumerate(lines, 1):
        where = f"{name}, line {number}"
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Unreadable(where, f"it is no JSON in UTF-8: {error}")
            continue
        if isinstance(values, dict):
            yield Row(where, values)
        else:
            yield Unreadable(where, f'it is {type(values).__name__} in JSON, an object like {{"text": ...}} was expected')


def read_lines(lines: Iterable[bytes], name: str) -> Rows:
    """A text a line; blank lines are none."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield Row(f"{name}, line {number}", {"text": line.decode().rstrip("\r\n")})
        except UnicodeDecodeError as error:
            yield Unreadable(f"{name}, line {number}", f"it is not UTF-8: {error}")


def read_text(path: Path) -> Rows:
    """The whole file as one text."""
    try:
        yield Row(str(path), {"text": path.read_bytes().decode("utf-8-sig")})
    except UnicodeDecodeError as error:
        yield Unreadable(str(path), f"it is not UTF-8: {error}")
    except OSError as error:
        yield Unreadable(str(path), f"it cannot be read: {error.strerror}")


def _json_lines(path: Path) -> Rows:
    with path.open("rb") as file:
        yield from read_json_lines(file, str(path))


def _lines(path: Path) -> Rows:
    with path.open("rb") as file:
        yield from read_lines(file, str(path))


def _csv(path: Path) -> Rows:
    """A header, then a row a record; the delimiter is a tab in .tsv, else the one that the header has most of."""
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
                yield Unreadable(f"{path}, line {reader.line_num}", f"it is no CSV: {error}")
                continue
            if record:
                yield _record(f"{path}, line {reader.line_num}", header, record)


def _record(where: str, header: list[str], record: list[str]) -> Row | Unreadable:
    if len(record) != len(header):
        return Unreadable(where, f"it has {len(record)} fields, the header has {len(header)}")
    if not all(field.isascii() or _is_text(field) for field in record):
        return Unreadable(where, "it is not UTF-8: save the file as UTF-8")
    return Row(where, dict(zip(header, record, strict=True)))


def _is_text(field: str) -> bool:
    return not any("\udc80" <= character <= "\udcff" for character in field)  # what surrogateescape makes of other bytes


def _parquet(path: Path) -> Rows:
    number = 0
    for batch in _parquet_file(path).iter_batches(PARQUET_ROWS):
        for values in batch.to_pylist():
            yield Row(f"{path}, row {number}", values)
            number += 1


def _parquet_rows(path: Path) -> int:
    rows: int = _parquet_file(path).metadata.num_rows
    return rows


def _parquet_file(path: Path) -> Any:
    require("pyarrow", "parquet")
    parquet = require("pyarrow.parquet", "parquet")
    try:
        return parquet.ParquetFile(path)
    except ValueError as error:  # pyarrow's own is one
        raise ValueError(f"{path} is no Parquet file: {error}") from None


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())


JSON_LINES = Format(_json_lines, _count_lines)
LINES = Format(_lines, _count_lines)
TEXT = Format(read_text, lambda path: 1)
CSV = Format(_csv, lambda path: None)  # a field may hold line breaks, so that lines tell nothing
PARQUET = Format(_parquet, _parquet_rows)
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


def stdin() -> BinaryIO:
    """Standard input as bytes."""
    return sys.stdin.buffer


def plain(value: Any) -> Any:
    """A value of a column as JSON has it: dates as ISO 8601, decimals as numbers, what is not a number as nothing."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return int(value) if value.is_finite() and value == value.to_integral_value() else plain(float(value))
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value
