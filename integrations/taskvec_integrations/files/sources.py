"""The SOURCE of a command as documents: which files it means, which column is what. Reads as it is asked, in bounded memory."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple, Self

from taskvec.integration import check_text
from taskvec_integrations.files import formats
from taskvec_integrations.files.formats import FORMATS, LINES, STDIN, TEXT, Format, Row, Rows, plain
from taskvec_integrations.ingestion.backend import FIELDS
from taskvec_integrations.ingestion.documents import Document, Unreadable, content_id

TRIED = 100
"""So many rows at the start may be unreadable before the whole file counts as something else."""
REMEMBERED = 1_000_000
"""Ids that are looked at for doubles: 70 MB of memory."""
ID = "id"


@dataclass(frozen=True)
class Columns:
    """Which columns are used. id: None takes "id" where there is one. payload: None takes all others.

    numbers: a row without an id is named by its place instead of its content. lines: every line of a text is one.
    """

    text: str = "text"
    id: str | None = None
    payload: Sequence[str] | None = None
    numbers: bool = False
    lines: bool = False

    def others(self, names: Iterable[str]) -> Sequence[str]:
        """Those of these columns that become the payload."""
        return [name for name in names if name not in (self.text, self.id or ID)] if self.payload is None else self.payload

    @property
    def named(self) -> dict[str, str]:
        """The columns that have to be there, by the option that names them."""
        payload = dict.fromkeys(self.payload or (), "--payload-columns")
        return {self.text: "--text-column", **({self.id: "--id-column"} if self.id else {}), **payload}


class File(NamedTuple):
    """A file to read; `id` names a text that is its only row."""

    name: str
    format: Format
    path: Path
    id: str | None = None

    def rows(self) -> Rows:
        """Its rows."""
        return self.format.rows(self.path)


@dataclass
class FileSource:
    """Documents of files, folders or stdin; `total` is their number where it is known.

    doubled: how often an id came again, or without one a text with another payload, and an example; complete when all was read.
    """

    files: Sequence[File]
    columns: Columns
    total: int | None
    doubled: int = 0
    example: str = ""
    _stdin: Rows | None = None
    _seen: set[int] = field(default_factory=set)

    @classmethod
    def open(cls, names: Sequence[str], columns: Columns) -> Self:
        """Find and check everything that is named, before any work: ValueError, OSError with what is wrong."""
        if names and STDIN in names:
            return cls((), columns, None, _stdin=_checked_stdin(names, columns))
        if "" in names:
            raise ValueError("a SOURCE is empty: name a folder or a file, or . for the folder you are in")
        prefixes = _prefixes(names)
        files = [file for name in names for file in find_files(name, columns.lines, prefixes.get(name, ""))]
        own = [file for file in files if file.id is None]
        empty = [file for file in own if not _check_start(file.rows(), file.name, columns)[0]]
        if len(empty) == len(files):
            raise ValueError(f"{', '.join(names)} has no rows: there is nothing to read")
        counts = [file.format.total(file.path) for file in files]
        return cls(files, columns, None if None in counts else sum(count or 0 for count in counts))

    def __iter__(self) -> Iterator[Document | Unreadable]:
        """All documents; an unreadable one in its place."""
        numbers = count()
        for rows, id in chain([(self._stdin, None)] if self._stdin else [], ((file.rows(), file.id) for file in self.files)):
            for row in rows:
                if isinstance(row, Unreadable):
                    next(numbers)  # which name places
                    yield row if id is None else Unreadable(id, row.reason)
                elif id is not None:
                    self._remember(id, id)
                    yield Document(id, row.values["text"])
                else:
                    yield self.document(row, next(numbers))

    def document(self, row: Row, number: int) -> Document | Unreadable:
        """What a row becomes; `number` names it where it has no id and `columns.numbers` says so."""
        columns, values = self.columns, {name: plain(value) for name, value in row.values.items()}
        if columns.text not in values:
            return Unreadable(row.where, f"it has no {columns.text!r}, only {', '.join(values) or 'nothing'}")
        text = values.pop(columns.text)
        id = values.pop(columns.id or ID, None)
        id = int(id) if isinstance(id, float) and id.is_integer() else id  # pandas makes floats of a column with a gap
        payload = {name: values[name] for name in columns.others(values) if values.get(name) is not None}
        try:
            check_text(str(id), "its id")
            whole = check_text("\n".join(map(str, text)) if isinstance(text, list) else str(text), "its text")
        except ValueError as error:
            return Unreadable(row.where, str(error))
        if id in (None, ""):
            if not (text and isinstance(text, str | list)) or not str(text).strip():
                return Unreadable(
                    row.where, "its text is empty or blank" if isinstance(text, str | list) else f"its text is {text!r}"
                )
            id = number if columns.numbers else content_id(whole)
            if not columns.numbers:
                self._remember(id, row.where, repr(payload))
        elif not isinstance(id, str | int) or isinstance(id, bool):
            return Unreadable(row.where, f"its id is {id!r}: a text or a whole number was expected")
        else:
            self._remember(id, str(id))
        return Document(id, chunks=text, payload=payload) if isinstance(text, list) else Document(id, text, payload=payload)

    def _remember(self, id: object, example: str, payload: str | None = None) -> None:
        """Count an id that came before; payload: of a document whose id is made of its text, of which exact copies may come."""
        if len(self._seen) >= REMEMBERED or (payload is not None and not self._is_new((id, payload))):
            return
        if not self._is_new(str(id)):
            self.doubled += 1
            self.example = self.example or example

    def _is_new(self, value: object) -> bool:
        before = len(self._seen)
        self._seen.add(hash(value))
        return len(self._seen) > before


def find_files(name: str, lines: bool, prefix: str = "") -> list[File]:
    """The files that a name means: itself, or the texts of a folder, hidden ones left out; OSError or ValueError for none.

    The id of a text is its path, in a folder the path from there behind `prefix`.
    """
    path = Path(name)
    if path.is_dir():
        if found := sorted(_walk(path)):
            return [_file(f"{path / one}", path / one, (Path(prefix) / one).as_posix(), lines) for one in found]
        raise ValueError(f"{name} has no .txt or .md files: name the files themselves, of {', '.join(FORMATS)}")
    if path.exists() and not path.is_file():
        raise ValueError(f"{name} is no regular file, and is read more than once: pipe it in, with - for the source")
    try:
        path.open("rb").close()
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file or folder {name}") from None
    except OSError as error:
        raise type(error)(f"{name} cannot be read: {error.strerror}") from None
    return [_file(name, path, path.as_posix(), lines)]


def _prefixes(names: Sequence[str]) -> dict[str, str]:
    """Of each folder its name, so that no other folder's texts get its ids; where two have one name, the path that was given."""
    own = {name: Path(name).resolve().name for name in names if Path(name).is_dir()}
    return own if len(set(own.values())) == len(own) else {name: Path(name).as_posix() for name in own}


def _walk(folder: Path) -> Iterator[str]:
    seen = set()
    for parent, folders, files in os.walk(folder, onerror=_cannot_read, followlinks=True):
        folders[:] = [one for one in folders if not one.startswith(".")]
        if (real := os.path.realpath(parent)) in seen:  # a link back
            folders.clear()
            continue
        seen.add(real)
        for file in files:
            path = Path(parent, file)
            if not file.startswith(".") and FORMATS.get(path.suffix.lower()) is TEXT and path.is_file():
                yield path.relative_to(folder).as_posix()


def _cannot_read(error: OSError) -> None:
    raise type(error)(f"{error.filename} cannot be read: {error.strerror}")


def _file(name: str, path: Path, id: str, lines: bool) -> File:
    kind = FORMATS.get(path.suffix.lower())
    if lines and kind in (None, TEXT):
        return File(name, LINES, path)
    if kind is None:
        raise ValueError(f"{name} ends in {path.suffix or 'nothing'}, which says nothing of its format: use {', '.join(FORMATS)}")
    return File(name, kind, path, id if kind is TEXT else None)


def _checked_stdin(names: Sequence[str], columns: Columns) -> Rows:
    if len(names) > 1:
        raise ValueError(f"- (stdin) came with {', '.join(name for name in names if name != STDIN)}: give one of them")
    read: Callable[..., Rows] = formats.read_lines if columns.lines else formats.read_json_lines
    rows = read(formats.stdin(), "stdin")
    start, _ = _check_start(rows, "stdin", columns)
    if not start:
        raise ValueError("stdin was empty: pipe JSON lines into it")
    return chain(start, rows)


def _check_start(rows: Rows, name: str, columns: Columns) -> tuple[list[Row | Unreadable], Row | None]:
    """The rows up to the first good one, which has the columns that are asked for; ValueError that names those it has."""
    start: list[Row | Unreadable] = []
    for row in rows:
        start.append(row)
        if isinstance(row, Row):
            for column, option in columns.named.items():
                if column not in row.values:
                    raise ValueError(
                        f"{name} has no column {column!r}, it has {', '.join(row.values)}: name another with {option}"
                    )
            if taken := sorted(set(columns.others(row.values)) & set(FIELDS)):
                raise ValueError(
                    f"{name} has a column {taken[0]!r}, a name that the store uses itself: rename it, or leave it out with "
                    f"--payload-columns"
                )
            return start, row
        if len(start) == TRIED:
            break
    if start and isinstance(start[0], Unreadable):
        raise ValueError(f"no row of {name} can be read: {start[0].name}: {start[0].reason}")
    return start, None
