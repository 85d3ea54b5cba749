"""Which files a SOURCE means: itself, or the texts of a folder. Knows names and formats, reads nothing."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from taskvec_integrations.files.formats import FORMATS, LINES, TEXT, Format, Rows


class SourceFile(NamedTuple):
    """A file to read.

    Attributes:
        name: What messages call it.
        format: How it is read.
        path: Where it is.
        id: The id of a text that is the only row of the file; None for files of rows.
    """

    name: str
    format: Format
    path: Path
    id: str | None = None

    def rows(self) -> Rows:
        """Read its rows."""
        return self.format.read_rows(self.path)


def find_all_files(names: Sequence[str], split_lines: bool) -> list[SourceFile]:
    """Find the files that several names mean, see `find_files`."""
    prefixes = _folder_prefixes(names)
    return [file for name in names for file in find_files(name, split_lines, prefixes.get(name, ""))]


def find_files(name: str, split_lines: bool, prefix: str = "") -> list[SourceFile]:
    """Find the files that a name means: itself, or the texts of a folder, without hidden ones.

    Args:
        name: A file or a folder.
        split_lines: Whether each line of a text file is a text of its own.
        prefix: What the ids of a folder's texts begin with; their path in the folder follows.

    Returns:
        The files, those of a folder in the order of their paths. The id of a text that was named itself is its path.

    Raises:
        ValueError: The folder has no texts, or nothing is known of the format.
        OSError: The file cannot be read.
    """
    path = Path(name)
    if path.is_dir():
        if found := sorted(_walk(path)):
            return [_source_file(f"{path / one}", path / one, (Path(prefix) / one).as_posix(), split_lines) for one in found]
        raise ValueError(f"{name} has no .txt or .md files: name the files themselves, of {', '.join(FORMATS)}")
    if path.exists() and not path.is_file():
        raise ValueError(f"{name} is not a regular file, and is read more than once: pipe it in, with - for the source")
    try:
        path.open("rb").close()
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file or folder {name}") from None
    except OSError as error:
        raise type(error)(f"{name} cannot be read: {error.strerror}") from None
    return [_source_file(name, path, path.as_posix(), split_lines)]


def _folder_prefixes(names: Sequence[str]) -> dict[str, str]:
    """The name of each folder, so that texts of two folders have different ids; the given paths where two names are equal."""
    folders = {name: Path(name).resolve().name for name in names if Path(name).is_dir()}
    return folders if len(set(folders.values())) == len(folders) else {name: Path(name).as_posix() for name in folders}


def _walk(folder: Path) -> Iterator[str]:
    seen = set()
    for parent, folders, files in os.walk(folder, onerror=_raise_unreadable, followlinks=True):
        folders[:] = [one for one in folders if not one.startswith(".")]
        if (real := os.path.realpath(parent)) in seen:  # a link back to a folder above
            folders.clear()
            continue
        seen.add(real)
        for file in files:
            path = Path(parent, file)
            if not file.startswith(".") and FORMATS.get(path.suffix.lower()) is TEXT and path.is_file():
                yield path.relative_to(folder).as_posix()


def _raise_unreadable(error: OSError) -> None:
    raise type(error)(f"{error.filename} cannot be read: {error.strerror}")


def _source_file(name: str, path: Path, id: str, split_lines: bool) -> SourceFile:
    kind = FORMATS.get(path.suffix.lower())
    if split_lines and kind in (None, TEXT):
        return SourceFile(name, LINES, path)
    if kind is None:
        raise ValueError(f"{name} ends in {path.suffix or 'nothing'}, which says nothing of its format: use {', '.join(FORMATS)}")
    return SourceFile(name, kind, path, id if kind is TEXT else None)
