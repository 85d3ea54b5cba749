"""Files as documents: which column of a row is what. Reads as documents are asked for, in bounded memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any, Self

from taskvec.integration import check_text
from taskvec_integrations.files import formats
from taskvec_integrations.files.formats import STDIN, Row, Rows, to_json_value
from taskvec_integrations.files.source_files import SourceFile, find_all_files
from taskvec_integrations.ingestion.documents import Document, Unreadable, content_id
from taskvec_integrations.ingestion.points import FIELDS

MAX_UNREADABLE_START_ROWS = 100
"""After so many rows at the start that cannot be read, the whole file counts as something else."""
MAX_REMEMBERED_IDS = 1_000_000
"""So many ids are compared to find duplicates, in 70 MB of memory."""
DEFAULT_ID_COLUMN = "id"


@dataclass(frozen=True)
class Columns:
    """Which columns of a row are used.

    Attributes:
        text: The column with the text, or with a list of texts, a document's chunks.
        id: The column that identifies a document; None takes "id" where there is one.
        payload: The columns stored with each chunk; None takes all others.
        number_ids: A row without an id is identified by its number instead of its content.
        split_lines: Every line of a text file is a text of its own.
    """

    text: str = "text"
    id: str | None = None
    payload: Sequence[str] | None = None
    number_ids: bool = False
    split_lines: bool = False

    def payload_names(self, names: Iterable[str]) -> Sequence[str]:
        """Those of a row's columns that become the payload."""
        if self.payload is not None:
            return self.payload
        return [name for name in names if name not in (self.text, self.id or DEFAULT_ID_COLUMN)]

    @property
    def required(self) -> dict[str, str]:
        """The columns that every file needs, each with the option that names it."""
        payload = dict.fromkeys(self.payload or (), "--payload-columns")
        return {self.text: "--text-column", **({self.id: "--id-column"} if self.id else {}), **payload}


@dataclass
class FileSource:
    """Documents of files, folders or stdin, made by `open`. Iterating over it reads them.

    Attributes:
        files: The files, in order; empty where stdin is read.
        columns: Which columns are used.
        total: The number of documents; None where it is not known.
        duplicates: How often an id came again, or the text of a row without an id with another payload; complete after the
            last document.
        duplicate_example: The first of these.
    """

    files: Sequence[SourceFile]
    columns: Columns
    total: int | None
    duplicates: int = 0
    duplicate_example: str = ""
    _stdin: Rows | None = None
    _seen: set[int] = field(default_factory=set)

    @classmethod
    def open(cls, names: Sequence[str], columns: Columns) -> Self:
        """Find and check everything that is named, before any work.

        Args:
            names: Files and folders, or "-" alone for stdin.
            columns: Which columns are used.

        Raises:
            ValueError: A name means nothing that can be read, a column is missing, or there are no rows.
            OSError: A file cannot be read.
        """
        if names and STDIN in names:
            return cls((), columns, None, _stdin=_open_stdin(names, columns))
        if "" in names:
            raise ValueError("a SOURCE is empty: name a folder or a file, or . for the folder you are in")
        files = find_all_files(names, columns.split_lines)
        empty = [file for file in files if file.id is None and not _read_start(file.rows(), file.name, columns)]
        if len(empty) == len(files):
            raise ValueError(f"{', '.join(names)} has no rows: there is nothing to read")
        counts = [file.format.count_rows(file.path) for file in files]
        return cls(files, columns, None if None in counts else sum(count or 0 for count in counts))

    def __iter__(self) -> Iterator[Document | Unreadable]:
        """All documents; what cannot be read is an Unreadable in its place."""
        numbers = count()
        for rows, id in chain([(self._stdin, None)] if self._stdin else [], ((file.rows(), file.id) for file in self.files)):
            for row in rows:
                if isinstance(row, Unreadable):
                    next(numbers)  # it counts as a row
                    yield row if id is None else Unreadable(id, row.reason)
                elif id is not None:
                    self._remember(id, id)
                    yield Document(id, row.values["text"])
                else:
                    yield self.to_document(row, next(numbers))

    def to_document(self, row: Row, number: int) -> Document | Unreadable:
        """Make a document of a row.

        Args:
            row: The row.
            number: Identifies a row without an id where `columns.number_ids` is set.

        Returns:
            The document, or an Unreadable with the reason.
        """
        columns, values = self.columns, {name: to_json_value(value) for name, value in row.values.items()}
        if columns.text not in values:
            return Unreadable(row.place, f"it has no {columns.text!r}, only {', '.join(values) or 'nothing'}")
        text = values.pop(columns.text)
        id = values.pop(columns.id or DEFAULT_ID_COLUMN, None)
        id = int(id) if isinstance(id, float) and id.is_integer() else id  # pandas makes floats of a column with a gap
        payload = {name: values[name] for name in columns.payload_names(values) if values.get(name) is not None}
        try:
            check_text(str(id), "its id")
            content = check_text("\n".join(map(str, text)) if isinstance(text, list) else str(text), "its text")
            id = self._make_id(text, content, payload, row.place, number) if id in (None, "") else self._check_id(id)
        except ValueError as error:
            return Unreadable(row.place, str(error))
        return Document(id, chunks=text, payload=payload) if isinstance(text, list) else Document(id, text, payload=payload)

    def _check_id(self, id: Any) -> str | int:
        if not isinstance(id, str | int) or isinstance(id, bool):
            raise ValueError(f"its id is {id!r}: a text or a whole number was expected")
        self._remember(id, str(id))
        return id

    def _make_id(self, text: Any, content: str, payload: dict[str, Any], place: str, number: int) -> str | int:
        if not isinstance(text, str | list):
            raise ValueError(f"its text is {text!r}")
        if not text or not str(text).strip():
            raise ValueError("its text is empty or blank")
        if self.columns.number_ids:
            return number
        id = content_id(content)
        self._remember(id, place, repr(payload))
        return id

    def _remember(self, id: object, example: str, payload: str | None = None) -> None:
        """Count an id that came before.

        payload: given where the id is made of the text; rows with the same text and payload are copies and are not counted.
        """
        if len(self._seen) >= MAX_REMEMBERED_IDS or (payload is not None and not self._is_new((id, payload))):
            return
        if not self._is_new(str(id)):
            self.duplicates += 1
            self.duplicate_example = self.duplicate_example or example

    def _is_new(self, value: object) -> bool:
        before = len(self._seen)
        self._seen.add(hash(value))
        return len(self._seen) > before


def _open_stdin(names: Sequence[str], columns: Columns) -> Rows:
    if len(names) > 1:
        raise ValueError(f"- (stdin) came with {', '.join(name for name in names if name != STDIN)}: give one of them")
    read: Callable[..., Rows] = formats.read_lines if columns.split_lines else formats.read_json_lines
    rows = read(formats.open_stdin(), "stdin")
    start = _read_start(rows, "stdin", columns)
    if not start:
        raise ValueError("stdin was empty: pipe JSON lines into it")
    return chain(start, rows)


def _read_start(rows: Rows, name: str, columns: Columns) -> list[Row | Unreadable]:
    """Read up to the first row that can be used; ValueError where it lacks a column, or where no row can be read."""
    start: list[Row | Unreadable] = []
    for row in rows:
        start.append(row)
        if isinstance(row, Row):
            _check_columns(row, name, columns)
            return start
        if len(start) == MAX_UNREADABLE_START_ROWS:
            break
    if start and isinstance(start[0], Unreadable):
        raise ValueError(f"no row of {name} can be read: {start[0].name}: {start[0].reason}")
    return start


def _check_columns(row: Row, name: str, columns: Columns) -> None:
    for column, option in columns.required.items():
        if column not in row.values:
            raise ValueError(f"{name} has no column {column!r}, it has {', '.join(row.values)}: name another with {option}")
    if reserved := sorted(set(columns.payload_names(row.values)) & set(FIELDS)):
        raise ValueError(
            f"{name} has a column {reserved[0]!r}, a name that the store uses itself: rename it, or leave it out with "
            f"--payload-columns"
        )
