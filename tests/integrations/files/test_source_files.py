"""Which files a source means, and the ids of texts."""

import os
from pathlib import Path

import pytest

from support.files import ROWS, read_documents, write_rows
from taskvec_integrations.files.sources import Columns, FileSource
from taskvec_integrations.ingestion.documents import Document


def test_a_folder_of_texts_in_order_without_what_is_hidden(tmp_path: Path) -> None:
    for name in ("b.md", "sub/a.txt", ".git/x.txt", ".hidden.txt", "data.jsonl", "UPPER.TXT"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    source = FileSource.open([str(tmp_path)], Columns())
    assert list(source) == [Document(f"{tmp_path.name}/{name}", name) for name in ("UPPER.TXT", "b.md", "sub/a.txt")]
    assert source.total == 3


def test_several_sources_and_the_id_of_a_file_is_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    (tmp_path / "x/a.md").write_text("A")
    write_rows(tmp_path / "d.jsonl", ROWS[:1])
    assert [one.id for one in read_documents("x/a.md", "d.jsonl")] == ["x/a.md", "a"]


def test_paths_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file or folder nowhere.jsonl"):
        FileSource.open(["nowhere.jsonl"], Columns())
    with pytest.raises(ValueError, match=r"has no .txt or .md files: name the files themselves, of .txt, .md, .jsonl"):
        FileSource.open([str(tmp_path)], Columns())


def test_files_of_one_name_in_two_folders_are_two_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether they are named together or one after the other, from wherever; two folders of one name are told apart, too."""
    for folder in ("a", "b", "c/a"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "readme.md").write_text(f"the text of {folder}")

    def ids(*names: str) -> list[str]:
        return [str(document.id) for document in read_documents(*map(Path, names)) if isinstance(document, Document)]

    monkeypatch.chdir(tmp_path)
    assert ids("a", "b") == ["a/readme.md", "b/readme.md"]
    assert ids("a") == ids(str(tmp_path / "a")) == ids("b/../a") == ["a/readme.md"]
    assert ids("a", "c/a") == ["a/readme.md", "c/a/readme.md"]
    monkeypatch.chdir(tmp_path / "a")
    assert ids(".") == ["a/readme.md"]


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    real = tmp_path / "real"
    (tmp_path / "notes" / "sub").mkdir(parents=True)
    real.mkdir()
    (real / "one.txt").write_text("one")
    (tmp_path / "notes" / "link").symlink_to(real)
    (tmp_path / "notes" / "sub" / "back").symlink_to(tmp_path / "notes")
    (tmp_path / "notes" / "two.txt").write_text("two")
    assert [document.id for document in read_documents(tmp_path / "notes")] == ["notes/link/one.txt", "notes/two.txt"]


def test_a_pipe_with_a_name_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.jsonl")
    with pytest.raises(ValueError, match="is not a regular file, and is read more than once: pipe it in"):
        read_documents(tmp_path / "p.jsonl")
