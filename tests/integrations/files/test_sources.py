"""Rows as documents: columns, ids, payloads, duplicates, and sources that cannot be used."""

from pathlib import Path
from typing import Any

import pytest

from support.files import ROWS, read_documents, write_rows
from taskvec_integrations.files import sources
from taskvec_integrations.files.sources import Columns, FileSource
from taskvec_integrations.ingestion.documents import Document, content_id


@pytest.mark.parametrize(
    ("name", "content", "columns", "said"),
    [
        (
            "d.jsonl",
            b'{"body": "x", "n": 1}\n',
            Columns(),
            "has no column 'text', it has body, n: name another with --text-column",
        ),
        ("d.csv", b"text\nx\n", Columns(id="url"), "has no column 'url', it has text: name another with --id-column"),
        ("d.csv", b"text\nx\n", Columns(payload=["y"]), "has no column 'y', it has text: name another with --payload-columns"),
        ("d.csv", b"body,text\nx,y\n", Columns("body"), "has a column 'text', a name that the store uses itself"),
        ("d.jsonl", b"one\ntwo\n", Columns(), "no row of .*d.jsonl can be read: .*d.jsonl, line 1: it is not JSON"),
        ("d.jsonl", b"\n\n", Columns(), "has no rows"),
        ("d.csv", b"id,text\n", Columns(), "has no rows"),
        ("d.csv", b"", Columns(), "has no rows"),
        ("d.parquet", b"PAR?", Columns(), "is not a Parquet file"),
        ("d.json", b"[]", Columns(), "ends in .json, which says nothing of its format: use .txt, .md, .jsonl"),
        ("d", b"", Columns(), "ends in nothing"),
    ],
)
def test_a_source_that_cannot_be_used_is_an_error_at_once(
    tmp_path: Path, name: str, content: bytes, columns: Columns, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=said):
        FileSource.open([str(tmp_path / name)], columns)


def test_an_empty_file_among_others_is_fine(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    assert len(read_documents(tmp_path / "empty.jsonl", write_rows(tmp_path / "d.jsonl", ROWS))) == 2


def test_ids_of_rows_without_one(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"text": "one"},
        {"text": ["a", "b"]},
        {"id": None, "text": "two"},
        {"id": 7, "text": "three"},
        {"text": " "},
        {"text": 5},
    ]
    path = write_rows(tmp_path / "d.jsonl", rows)
    one, chunks, two, three, blank, number = read_documents(path)
    assert [one.id, chunks.id, two.id, three.id] == [content_id("one"), content_id("a\nb"), content_id("two"), 7]
    assert chunks.chunks == ["a", "b"]
    assert [blank.reason, number.reason] == ["its text is empty or blank", "its text is 5"]
    numbered = read_documents(path, path, columns=Columns(number_ids=True))
    assert [one.id for one in numbered if isinstance(one, Document)] == [*(0, 1, 2, 7), *(6, 7, 8, 7)]


def test_duplicate_ids_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_rows(tmp_path / "d.jsonl", [{"id": number % 3, "text": f"text {number}"} for number in range(9)])
    source = FileSource.open([str(path)], Columns())
    assert len(list(source)) == 9
    assert (source.duplicates, source.duplicate_example) == (6, "0")
    monkeypatch.setattr(sources, "MAX_REMEMBERED_IDS", 2)
    bounded = FileSource.open([str(path)], Columns())
    assert len(list(bounded)) == 9
    assert len(bounded._seen) == 2


def test_a_text_without_an_id_that_comes_again_is_counted_where_its_payload_is_another(tmp_path: Path) -> None:
    rows = [{"text": "a", "shop": 1}, {"text": "a", "shop": 1}, {"text": "b", "shop": 1}, {"text": "a", "shop": 2}]
    path = write_rows(tmp_path / "d.jsonl", rows)
    source = FileSource.open([str(path)], Columns())
    assert len({document.id for document in source if isinstance(document, Document)}) == 2
    assert (source.duplicates, source.duplicate_example) == (1, f"{path}, line 4")
    numbered = FileSource.open([str(path)], Columns(number_ids=True))
    assert len(list(numbered)) == 4
    assert numbered.duplicates == 0


def test_payload_columns_choose(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "d.jsonl", [{"id": 1, "text": "x", "a": 1, "b": 2}])
    assert read_documents(path, columns=Columns(payload=["b"]))[0].payload == {"b": 2}
    assert read_documents(path, columns=Columns(payload=[]))[0].payload == {}
