"""The pieces without a cluster: a part with trouble through the writer, the recorder, rows and files as documents."""

import datetime
import pickle
import types
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import ray
from ray.exceptions import RayTaskError

from support.fake_backend import FakeBackend, FakeCollection, FakeStore, ForbiddenError, Trouble
from taskvec import Encoder
from taskvec_integrations.files.sources import Columns, FileSource
from taskvec_integrations.ingestion.documents import Document, Unreadable
from taskvec_integrations.ingestion.report import Failure, IngestReport
from taskvec_integrations.ray.part_recorder import PartRecorder
from taskvec_integrations.ray.parts import PartResult, digest_ids, make_portable
from taskvec_integrations.ray.sources import FileDatasource, read_pickled, read_rows
from taskvec_integrations.ray.writer import RemoteBackend, StoreWriter, StoreWriterError
from taskvec_integrations.store import Store
from taskvec_integrations.store_url import StoreURL

CHUNKS = {"a": ["one two", "three", "four"], "b": ["five", "bad", "six seven"], "c": ["nine ten"]}


def through_a_writer(monkeypatch: pytest.MonkeyPatch, backend: FakeBackend) -> RemoteBackend:
    """A backend behind a writer in this process; what would cross processes is pickled, and errors are wrapped as Ray does."""
    monkeypatch.setattr(StoreURL, "open", lambda url, collection: FakeStore(backend))
    with monkeypatch.context() as patch:
        patch.setattr(backend, "trouble", lambda method, batch: None)
        actor = StoreWriter(StoreURL.parse("qdrant://./unused"), "docs")
    assert backend.calls.pop() == ("find", 0)  # which loads the collection

    def call(method: str, *arguments: Any) -> Any:
        try:
            return pickle.loads(pickle.dumps(actor.call(*pickle.loads(pickle.dumps((method, *arguments))))))
        except Exception as error:
            raise RayTaskError("call", "", pickle.loads(pickle.dumps(error))) from None  # type: ignore[no-untyped-call]

    def traits() -> Any:
        return pickle.loads(pickle.dumps(actor.traits()))

    monkeypatch.setattr(ray, "get", lambda reference: reference())
    methods: dict[str, Callable[..., Any]] = {"call": call, "traits": traits}
    remote = {name: types.SimpleNamespace(remote=partial(partial, method)) for name, method in methods.items()}
    return RemoteBackend(types.SimpleNamespace(**remote))  # type: ignore[arg-type]


def ingest(backend: Any, encoder: Encoder, chunks: dict[str, list[str]]) -> IngestReport:
    store = Store(backend, encoder=encoder, dimensions=24)
    store.prepare()
    report = store.ingest_part([Document(id, chunks=own) for id, own in chunks.items()])
    report.seconds = report.seconds_encoding = report.seconds_uploading = 0
    return report


def test_a_backend_behind_a_writer_does_the_same(monkeypatch: pytest.MonkeyPatch, encoder: Encoder) -> None:
    """Retries, refusals, edits and what is stored are the same as without a writer."""
    seen = []
    for wrap in (lambda backend: backend, lambda backend: through_a_writer(monkeypatch, backend)):
        server: dict[str, FakeCollection] = {}
        backend = FakeBackend(server, trouble=Trouble(), max_batch_points=2)
        edited = CHUNKS | {"a": ["one two", "threefold"], "b": ["five", "fine", "six seven"]}
        reports = [ingest(wrap(backend), encoder, chunks) for chunks in (CHUNKS, CHUNKS, edited, edited)]
        held = {id: (fields, vector.tolist()) for id, (fields, vector) in server["docs"].points.items()}
        assert backend.finished == 0
        seen.append((reports, held, backend.calls))
    assert seen[0] == seen[1]
    assert [report.chunks.failed for report in seen[0][0]] == [1, 1, 0, 0]
    assert seen[0][0][0].retries > 0
    assert seen[0][0][3].chunks.encoded == 0


def test_errors_of_a_writer_keep_their_meaning(monkeypatch: pytest.MonkeyPatch, encoder: Encoder) -> None:
    def forbidden(method: str, batch: Sequence[Any]) -> None:
        if method == "write":
            raise ForbiddenError("no key")

    with pytest.raises(StoreWriterError, match="no key"):
        ingest(through_a_writer(monkeypatch, FakeBackend({}, trouble=forbidden)), encoder, CHUNKS)
    other = {"docs": FakeCollection(48)}
    with pytest.raises(ValueError, match="has dimensions 48; this store has dimensions 24"):
        ingest(through_a_writer(monkeypatch, FakeBackend(other)), encoder, CHUNKS)


def test_reports_of_parts_add_up(caplog: pytest.LogCaptureFixture) -> None:
    recorder = PartRecorder("docs", report := IngestReport())
    for worker, most, ids in (("a", 5, ["x", "y", "y"]), ("a", 7, ["z"]), ("b", 2, ["x"])):
        part = IngestReport(failed=[Failure(ids[0], "bad")], truncated=1, retries=2, most_under_way=most)
        part.documents.read, part.chunks.written = len(ids), 10
        recorder.record(PartResult(worker, part, digest_ids(Document(id, "text") for id in ids)))
    assert (report.documents.read, report.chunks.written, report.truncated, report.retries) == (5, 30, 3, 6)
    assert report.most_under_way == 7 + 2
    assert [failure.document_id for failure in report.failed] == ["x", "z", "x"]
    with pytest.raises(OSError, match="gone") as ended, recorder.timing():
        recorder.record(PartResult("c", error=OSError("gone")))
    assert "30 written" in ended.value.__notes__[0]
    assert "1 documents in docs have an id that another part" in caplog.text


class StubbornError(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")


def test_errors_travel() -> None:
    error = ValueError("x")
    error.add_note("the report so far")
    assert make_portable(error) is error
    assert not error.__notes__
    assert str(make_portable(StubbornError(1, 2))) == "StubbornError: 1 and 2"


def test_rows_are_documents_as_on_the_command_line() -> None:
    day = datetime.date(2024, 2, 29)
    rows = [
        {"id": 1, "text": "a", "day": day, "price": Decimal("1.5"), "none": None, "deep": {"x": [1]}},
        {"id": None, "text": ["b", "c"], "day": None, "price": None, "none": None, "deep": None},
        {"id": None, "text": None, "day": None, "price": None, "none": None, "deep": None},
    ]
    first = next(read_rows(Columns(), pa.Table.from_pylist(rows[:1])))
    assert first == Document(1, "a", payload={"day": "2024-02-29", "price": 1.5, "deep": {"x": [1]}})
    second = next(read_rows(Columns(), pa.table({"id": [None], "text": [["b", "c"]]})))
    assert isinstance(second, Document)
    assert (second.chunks, second.payload) == (["b", "c"], {})
    third = next(read_rows(Columns(), pa.Table.from_pylist(rows[2:])))
    assert isinstance(third, Unreadable)
    assert third.name.startswith("the row {")


def test_files_are_read_in_as_many_tasks_as_there_are_slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(5):
        Path(f"{number}.txt").write_text(f"text {number}")
    source = FileSource.open([f"{number}.txt" for number in range(5)], Columns())
    files = FileDatasource(source)
    assert not files.supports_distributed_reads
    assert files.estimate_inmemory_data_size() == 5 * 6
    tasks = files.get_read_tasks(2)
    monkeypatch.chdir("/")  # workers run elsewhere
    read = [[document for table in task() for document in read_pickled(table)] for task in tasks]
    assert [len(some) for some in read] == [3, 2]
    assert [document.id for some in read for document in some if isinstance(document, Document)] == [
        f"{number}.txt" for number in range(5)
    ]


def test_digests_are_of_ids_as_they_are_stored() -> None:
    made = digest_ids([Document(1, "a"), Document("1", "b"), Document("x", "c"), Unreadable("y", "bad"), "text"])
    assert made.dtype == np.uint64
    assert len(made) == 2
