"""Every file format: its rows, and what is said of rows that cannot be read."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.files import ROWS, read_documents, write_rows
from taskvec_integrations.files import formats
from taskvec_integrations.files.formats import to_json_value
from taskvec_integrations.files.sources import Columns, FileSource
from taskvec_integrations.ingestion.documents import Document, Unreadable, content_id


@pytest.mark.parametrize("name", ["d.jsonl", "d.ndjson", "d.csv", "d.tsv", "d.parquet", "D.PARQUET"])
def test_every_format_has_the_same_documents(tmp_path: Path, name: str) -> None:
    path = write_rows(tmp_path / name.lower(), ROWS)
    path = path.rename(tmp_path / name)
    assert read_documents(path) == [Document(row["id"], row["text"], payload={"kind": row["kind"]}) for row in ROWS]
    total = FileSource.open([str(path)], Columns()).total
    assert total == (None if path.suffix in (".csv", ".tsv") else 2)


def test_a_csv_of_a_german_spreadsheet(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_bytes("\ufeffid;text\n1;Brot, Käse\n".encode())
    assert read_documents(tmp_path / "d.csv") == [Document("1", "Brot, Käse")]


def test_bad_lines_are_named_and_the_good_ones_stay(tmp_path: Path) -> None:
    good = b'{"id": 1, "text": "good"}\n'
    bad = [b"{oops\n", b'["a"]\n', b'{"id": 2, "text": "caf\xe9"}\n', b'{"id": 3}\n', b"\n", b"[" * 100_000 + b"\n"]
    (tmp_path / "d.jsonl").write_bytes(good + b"".join(bad) + good)
    found = read_documents(tmp_path / "d.jsonl")
    assert [one.id if isinstance(one, Document) else one.name.rpartition(", ")[2] for one in found] == [
        *(1, "line 2", "line 3", "line 4", "line 5", "line 7", 1)
    ]
    reasons = [one.reason for one in found if isinstance(one, Unreadable)]
    for reason, said in zip(
        reasons, ["not JSON", "list in JSON", "not JSON in UTF-8", "no 'text', only id", "not JSON"], strict=True
    ):
        assert said in reason


def test_bad_records_of_a_csv_are_named(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_bytes(b"id,text\n1,good\n2\n3,caf\xe9\n4,a,b\n\n5,good\n")
    found = read_documents(tmp_path / "d.csv")
    assert [one.id if isinstance(one, Document) else one.reason.partition(":")[0] for one in found] == [
        *("1", "it has 1 fields, the header has 2", "it is not UTF-8", "it has 3 fields, the header has 2", "5")
    ]


def test_text_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"caf\xe9")
    (tmp_path / "good.txt").write_text("good")
    bad, good = read_documents(tmp_path)
    assert (bad.name, good) == (f"{tmp_path.name}/bad.txt", Document(f"{tmp_path.name}/good.txt", "good"))
    assert "not UTF-8" in bad.reason


def test_values_of_parquet_become_json(tmp_path: Path) -> None:
    when = datetime(2026, 1, 2, tzinfo=UTC)
    rows = [{"id": 1.0, "text": "x", "when": when, "price": Decimal("1.50"), "score": float("nan"), "tags": ["a"], "none": None}]
    (document,) = read_documents(write_rows(tmp_path / "d.parquet", [*rows, {**rows[0], "none": "y"}]))[:1]
    assert document.id == 1
    assert document.payload == {"when": when.isoformat(), "price": 1.5, "tags": ["a"]}
    assert to_json_value({"u": UUID(int=1), "l": [float("inf")]}) == {"u": str(UUID(int=1)), "l": [None]}


def test_lines_are_texts(tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_bytes(b"one\r\n\ntwo\nb\xe9d\n")
    one, two, bad = read_documents(tmp_path / "q.txt", columns=Columns(number_ids=True, split_lines=True))
    assert (one, two, bad.name) == (Document(0, "one"), Document(1, "two"), f"{tmp_path / 'q.txt'}, line 4")


def test_rows_are_read_as_they_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless() -> Iterator[bytes]:
        for number in range(10**9):
            taken.append(number)
            yield b'{"text": "%d"}\n' % number

    taken: list[int] = []
    monkeypatch.setattr(formats, "open_stdin", endless)
    documents = iter(FileSource.open(["-"], Columns()))
    assert [next(documents) for _ in range(5)] == [Document(content_id(text), text) for text in "01234"]
    assert len(taken) <= 6


def test_a_large_parquet_is_read_in_pieces(tmp_path: Path) -> None:
    text = "x" * 1000
    pq.write_table(pa.table({"text": [text] * 20_000}), tmp_path / "d.parquet", row_group_size=2000)
    before = pa.total_allocated_bytes()
    most = 0
    for _ in FileSource.open([str(tmp_path / "d.parquet")], Columns()):
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 10_000_000  # of 20 MB


@pytest.mark.parametrize(
    "row", ['{"text": "broken \\ud83d"}', '{"id": "a\\ud83d", "text": "fine"}', '{"text": ["x", "\\ud83d"]}']
)
def test_a_text_with_a_lone_surrogate_fails_alone(tmp_path: Path, row: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"text": "first"}}\n{row}\n{{"text": "third"}}\n')
    first, bad, third = read_documents(path)
    assert (first.text, third.text) == ("first", "third")
    assert isinstance(bad, Unreadable)
    assert bad.name.endswith("line 2")
    assert "lone surrogate" in bad.reason


def test_a_quote_that_is_not_closed_swallows_nothing_silently(tmp_path: Path) -> None:
    path = tmp_path / "open.csv"
    path.write_text('id,text\n1,hello\n2,"world is open\n3,third\n')
    *_, last = read_documents(path)
    assert isinstance(last, Unreadable)
    assert "it is not CSV" in last.reason


def test_large_ids_of_parquet_stay_apart(tmp_path: Path) -> None:
    ids = [Decimal(12345678901234567890 + n) for n in range(3)]
    table = pa.table({"id": pa.array(ids, pa.decimal128(20, 0)), "text": ["a", "b", "c"]})
    pq.write_table(table, tmp_path / "ids.parquet")
    assert [document.id for document in read_documents(tmp_path / "ids.parquet")] == [int(id) for id in ids]


def test_a_tsv_has_tabs_whatever_its_header_holds(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("id\ttext\ttitle, original, short\n1\thello, world\tx\n")
    (document,) = read_documents(tmp_path / "a.tsv")
    assert (document.id, document.text) == ("1", "hello, world")
