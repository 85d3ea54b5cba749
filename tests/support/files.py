"""Files of rows in every format, and the documents that are read from them."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from taskvec_integrations.files.sources import Columns, FileSource

ROWS = [
    {"id": "a", "text": "Bread rises.", "kind": "food"},
    {"id": "b", "text": "The moon; the sea,\n\tthe tides.", "kind": "sky"},
]


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows in the format that the end of the path says."""
    kind = path.suffix
    if kind == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif kind in (".csv", ".tsv"):
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if kind == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def read_documents(*names: object, columns: Columns = Columns()) -> list[Any]:
    """All that a source gives: Documents, and an Unreadable where one cannot be read."""
    return list(FileSource.open([str(name) for name in names], columns))
