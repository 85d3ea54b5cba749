"""What a SOURCE becomes: every format, what is wrong with rows and files, columns, ids, payloads, memory."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taskvec_integrations.files import formats, sources
from taskvec_integrations.files.formats import plain
from taskvec_integrations.files.sources import Columns, FileSource
from taskvec_integrations.ingestion.documents import Document, Unreadable, content_id

ROWS = [
    {"id": "a", "text": "Bread rises.", "kind": "food"},
    {"id": "b", "text": "The moon; the sea,\n\tthe tides.", "kind": "sky"},
]


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / name
    kind = path.suffix
    if kind == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif kind in (".csv", ".tsv"):
        import csv

        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if kind == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def read(*names: object, columns: Columns = Columns()) -> list[Any]:
    return list(FileSource.open([str(name) for name in names], columns))


@pytest.mark.parametrize("name", ["d.jsonl", "d.ndjson", "d.csv", "d.tsv", "d.parquet", "D.PARQUET"])
def test_every_format_has_the_same_documents(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name.lower(), ROWS)
    path = path.rename(tmp_path / name)
    assert read(path) == [Document(row["id"], row["text"], payload={"kind": row["kind"]}) for row in ROWS]
    total = FileSource.open([str(path)], Columns()).total
    assert total == (None if path.suffix in (".csv", ".tsv") else 2)


def test_a_csv_of_a_german_spreadsheet(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_bytes("\ufeffid;text\n1;Brot, Käse\n".encode())
    assert read(tmp_path / "d.csv") == [Document("1", "Brot, Käse")]


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
    write(tmp_path, "d.jsonl", ROWS[:1])
    assert [one.id for one in read("x/a.md", "d.jsonl")] == ["x/a.md", "a"]


def test_bad_lines_are_named_and_the_good_ones_stay(tmp_path: Path) -> None:
    good = b'{"id": 1, "text": "good"}\n'
    bad = [b"{oops\n", b'["a"]\n', b'{"id": 2, "text": "caf\xe9"}\n', b'{"id": 3}\n', b"\n", b"[" * 100_000 + b"\n"]
    (tmp_path / "d.jsonl").write_bytes(good + b"".join(bad) + good)
    found = read(tmp_path / "d.jsonl")
    assert [one.id if isinstance(one, Document) else one.name.rpartition(", ")[2] for one in found] == [
        *(1, "line 2", "line 3", "line 4", "line 5", "line 7", 1)
    ]
    reasons = [one.reason for one in found if isinstance(one, Unreadable)]
    for reason, said in zip(
        reasons, ["no JSON", "list in JSON", "no JSON in UTF-8", "no 'text', only id", "no JSON"], strict=True
    ):
        assert said in reason


def test_bad_records_of_a_csv_are_named(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_bytes(b"id,text\n1,good\n2\n3,caf\xe9\n4,a,b\n\n5,good\n")
    found = read(tmp_path / "d.csv")
    assert [one.id if isinstance(one, Document) else one.reason.partition(":")[0] for one in found] == [
        *("1", "it has 1 fields, the header has 2", "it is not UTF-8", "it has 3 fields, the header has 2", "5")
    ]


def test_text_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"caf\xe9")
    (tmp_path / "good.txt").write_text("good")
    bad, good = read(tmp_path)
    assert (bad.name, good) == (f"{tmp_path.name}/bad.txt", Document(f"{tmp_path.name}/good.txt", "good"))
    assert "not UTF-8" in bad.reason


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
        ("d.jsonl", b"one\ntwo\n", Columns(), "no row of .*d.jsonl can be read: .*d.jsonl, line 1: it is no JSON"),
        ("d.jsonl", b"\n\n", Columns(), "has no rows"),
        ("d.csv", b"id,text\n", Columns(), "has no rows"),
        ("d.csv", b"", Columns(), "has no rows"),
        ("d.parquet", b"PAR?", Columns(), "is no Parquet file"),
        ("d.json", b"[]", Columns(), "ends in .json, which says nothing of its format: use .txt, .md, .jsonl"),
        ("d", b"", Columns(), "ends in nothing"),
    ],
)
def test_what_cannot_be_used_at_all_is_said_at_once(
    tmp_path: Path, name: str, content: bytes, columns: Columns, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=said):
        FileSource.open([str(tmp_path / name)], columns)


def test_paths_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file or folder nowhere.jsonl"):
        FileSource.open(["nowhere.jsonl"], Columns())
    with pytest.raises(ValueError, match=r"has no .txt or .md files: name the files themselves, of .txt, .md, .jsonl"):
        FileSource.open([str(tmp_path)], Columns())


def test_an_empty_shard_among_others_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    assert len(read(tmp_path / "empty.jsonl", write(tmp_path, "d.jsonl", ROWS))) == 2


def test_ids_of_rows_without_one(tmp_path: Path) -> None:
    rows = [
        {"text": "one"},
        {"text": ["a", "b"]},
        {"id": None, "text": "two"},
        {"id": 7, "text": "three"},
        {"text": " "},
        {"text": 5},
    ]
    path = write(tmp_path, "d.jsonl", rows)
    one, chunks, two, three, blank, number = read(path)
    assert [one.id, chunks.id, two.id, three.id] == [content_id("one"), content_id("a\nb"), content_id("two"), 7]
    assert chunks.chunks == ["a", "b"]
    assert [blank.reason, number.reason] == ["its text is empty or blank", "its text is 5"]
    assert [one.id for one in read(path, path, columns=Columns(numbers=True)) if isinstance(one, Document)] == [
        0,
        1,
        2,
        7,
        6,
        7,
        8,
        7,
    ]


def test_doubled_ids_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "d.jsonl", [{"id": number % 3, "text": f"text {number}"} for number in range(9)])
    source = FileSource.open([str(path)], Columns())
    assert len(list(source)) == 9
    assert (source.doubled, source.example) == (6, "0")
    monkeypatch.setattr(sources, "REMEMBERED", 2)
    bounded = FileSource.open([str(path)], Columns())
    assert len(list(bounded)) == 9
    assert len(bounded._seen) == 2


def test_a_text_without_an_id_that_comes_again_is_counted_where_its_payload_is_another(tmp_path: Path) -> None:
    rows = [{"text": "a", "shop": 1}, {"text": "a", "shop": 1}, {"text": "b", "shop": 1}, {"text": "a", "shop": 2}]
    path = write(tmp_path, "d.jsonl", rows)
    source = FileSource.open([str(path)], Columns())
    assert len({document.id for document in source if isinstance(document, Document)}) == 2
    assert (source.doubled, source.example) == (1, f"{path}, line 4")
    numbered = FileSource.open([str(path)], Columns(numbers=True))
    assert len(list(numbered)) == 4
    assert numbered.doubled == 0


def test_values_of_parquet_become_json(tmp_path: Path) -> None:
    when = datetime(2026, 1, 2, tzinfo=UTC)
    rows = [{"id": 1.0, "text": "x", "when": when, "price": Decimal("1.50"), "score": float("nan"), "tags": ["a"], "none": None}]
    (document,) = read(write(tmp_path, "d.parquet", [*rows, {**rows[0], "none": "y"}]))[:1]
    assert document.id == 1
    assert document.payload == {"when": when.isoformat(), "price": 1.5, "tags": ["a"]}
    assert plain({"u": UUID(int=1), "l": [float("inf")]}) == {"u": str(UUID(int=1)), "l": [None]}


def test_payload_columns_choose(tmp_path: Path) -> None:
    path = write(tmp_path, "d.jsonl", [{"id": 1, "text": "x", "a": 1, "b": 2}])
    assert read(path, columns=Columns(payload=["b"]))[0].payload == {"b": 2}
    assert read(path, columns=Columns(payload=[]))[0].payload == {}


def test_lines_are_texts(tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_bytes(b"one\r\n\ntwo\nb\xe9d\n")
    one, two, bad = read(tmp_path / "q.txt", columns=Columns(numbers=True, lines=True))
    assert (one, two, bad.name) == (Document(0, "one"), Document(1, "two"), f"{tmp_path / 'q.txt'}, line 4")


def test_rows_are_read_as_they_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless() -> Iterator[bytes]:
        for number in range(10**9):
            taken.append(number)
            yield b'{"text": "%d"}\n' % number

    taken: list[int] = []
    monkeypatch.setattr(formats, "stdin", endless)
    documents = iter(FileSource.open(["-"], Columns()))
    assert [next(documents).text for _ in range(5)] == ["0", "1", "2", "3", "4"]
    assert len(taken) <= 6


def test_a_large_parquet_is_read_in_pieces(tmp_path: Path) -> None:
    text = "x" * 1000
    pq.write_table(pa.table({"text": [text] * 20_000}), tmp_path / "d.parquet", row_group_size=2000)
    before = pa.total_allocated_bytes()
    most = 0
    for _ in FileSource.open([str(tmp_path / "d.parquet")], Columns()):
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 10_000_000  # of 20 MB


def test_files_of_one_name_in_two_folders_are_two_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether they are named together or one after the other, from wherever; two folders of one name are told apart, too."""
    for folder in ("a", "b", "c/a"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "readme.md").write_text(f"the text of {folder}")

    def ids(*names: str) -> list[str]:
        return [str(document.id) for document in read(*map(Path, names)) if isinstance(document, Document)]

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
    assert [document.id for document in read(tmp_path / "notes")] == ["notes/link/one.txt", "notes/two.txt"]


@pytest.mark.parametrize(
    "row", ['{"text": "broken \\ud83d"}', '{"id": "a\\ud83d", "text": "fine"}', '{"text": ["x", "\\ud83d"]}']
)
def test_what_is_no_text_costs_itself_only(tmp_path: Path, row: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"text": "first"}}\n{row}\n{{"text": "third"}}\n')
    first, bad, third = read(path)
    assert (first.text, third.text) == ("first", "third")
    assert isinstance(bad, Unreadable)
    assert bad.name.endswith("line 2")
    assert "lone surrogate" in bad.reason


def test_a_quote_that_is_not_closed_swallows_nothing_silently(tmp_path: Path) -> None:
    path = tmp_path / "open.csv"
    path.write_text('id,text\n1,hello\n2,"world is open\n3,third\n')
    *_, last = read(path)
    assert isinstance(last, Unreadable)
    assert "it is no CSV" in last.reason


def test_large_ids_of_parquet_stay_apart(tmp_path: Path) -> None:
    ids = [Decimal(12345678901234567890 + n) for n in range(3)]
    table = pa.table({"id": pa.array(ids, pa.decimal128(20, 0)), "text": ["a", "b", "c"]})
    pq.write_table(table, tmp_path / "ids.parquet")
    assert [document.id for document in read(tmp_path / "ids.parquet")] == [int(id) for id in ids]


def test_a_tsv_has_tabs_whatever_its_header_holds(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("id\ttext\ttitle, original, short\n1\thello, world\tx\n")
    (document,) = read(tmp_path / "a.tsv")
    assert (document.id, document.text) == ("1", "hello, world")


def test_a_pipe_with_a_name_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.jsonl")
    with pytest.raises(ValueError, match="is no regular file, and is read more than once: pipe it in"):
        read(tmp_path / "p.jsonl")
