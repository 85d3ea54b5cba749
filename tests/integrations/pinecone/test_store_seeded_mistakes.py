"""A check of PineconeStore over an emulated Pinecone fails under each way that it could be subtly wrong."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from tenacity import stop_after_attempt, wait_none

from support.mistakes import queries_as_passages, tasks_swapped
from support.pinecone.emulator import pinecone
from support.pinecone.indexes import sync_index
from taskvec import Encoder
from taskvec_integrations.pinecone import PineconeStore, backend, records
from taskvec_integrations.pinecone.backend import PineconeBackend
from taskvec_integrations.store import Document

Patch = pytest.MonkeyPatch

CHUNKS = {"a": ["one", "two", "three"], "a#0": ["four"], "b": [f"chunk {n}" for n in range(130)], "c": ["five", "six"]}


def check(encoder: Encoder, patch: Patch) -> None:
    """Ingest in several batches, again at once, after edits, search; writes show late, and waiting is counted in tries."""
    patch.setattr(PineconeBackend, "max_batch_points", 50)
    patch.setattr(backend, "wait_exponential", lambda **options: wait_none())
    patch.setattr(backend, "stop_after_delay", lambda seconds: stop_after_attempt(20))
    with pinecone(32, lag=5) as server, closing(sync_index(server.url)) as index:

        def ingest(chunks: dict[str, list[str]]) -> tuple[int, int, int]:
            store = PineconeStore(index, encoder=encoder, namespace="docs")
            counts = store.ingest(Document(id, chunks=texts, payload={"from": id}) for id, texts in chunks.items()).chunks
            return counts.encoded, counts.written, counts.deleted

        def assert_holds(chunks: dict[str, list[str]]) -> None:
            stored = [(record.fields, record.values) for record in server.stored("docs").values()]
            found = {(fields["document_id"], int(fields["chunk"])): (fields["text"], fields["from"]) for fields, _ in stored}
            wanted = {(id, chunk): (text, id) for id, texts in chunks.items() for chunk, text in enumerate(texts)}
            assert found == wanted
            assert len(stored) == len(wanted)
            vectors = encoder.encode_documents([fields["text"] for fields, _ in stored])
            np.testing.assert_array_equal(vectors, [vector for _, vector in stored])

        assert ingest(CHUNKS) == (136, 136, 0)
        assert ingest(CHUNKS) == (0, 0, 0)
        assert_holds(CHUNKS)
        edited = CHUNKS | {"a": ["one", "TWO"], "b": CHUNKS["b"][:101], "c": ["five"]}
        assert ingest(edited) == (1, 1, 31)
        assert ingest(edited) == (0, 0, 0)
        assert_holds(edited)
        query = encoder.encode_queries("which?")
        (hit,) = PineconeStore(index, encoder=encoder, namespace="docs").search("which?", 1, filter={"from": "a"})
        best = max((float(encoder.encode_documents(text) @ query), text) for text in edited["a"])
        assert hit.score == pytest.approx(best[0], abs=1e-5)
        assert hit.text == best[1]
        assert server.stored("docs").keys().isdisjoint(server.stored(backend.RECORD_NAMESPACE))
        with pytest.raises(ValueError, match="document_task"):
            PineconeStore(index, encoder=encoder, namespace="docs", document_task=None).ingest(["x"])


def a_batch_lost(patch: Patch) -> None:
    right, calls = PineconeBackend.write, [0]

    def write(self: PineconeBackend, points: Any) -> None:
        calls[0] += 1
        if calls[0] != 2:
            right(self, points)

    patch.setattr(PineconeBackend, "write", write)


def a_batch_deleted_in_part(patch: Patch) -> None:
    right = PineconeBackend._delete
    patch.setattr(PineconeBackend, "_delete", lambda self, ids: right(self, ids[:-1]))


def changed(name: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Patch], None]:
    def mutate(patch: Patch) -> None:
        right = records.to_record
        patch.setattr(backend, "to_record", lambda point: change(right(point)))

    mutate.__qualname__ = name
    return mutate


def renamed(record: dict[str, Any]) -> dict[str, Any]:
    metadata = dict(record["metadata"])
    return record | {"metadata": metadata | {"content": metadata.pop("text")}}


def what_is_replaced_stays(patch: Patch) -> None:
    right = PineconeBackend._delete
    patch.setattr(PineconeBackend, "_delete", lambda self, ids: right(self, ids) if len(ids) > 1 else None)


def no_waiting_at_the_end(patch: Patch) -> None:
    patch.setattr(PineconeBackend, "finish", lambda self: None)


def no_waiting_for_the_record(patch: Patch) -> None:
    patch.setattr(PineconeBackend, "_wait_until", lambda self, is_visible: True)


def first_page_only(patch: Patch) -> None:
    def pages(self: PineconeBackend, prefix: str) -> Any:
        page = self._index.list_paginated(prefix=prefix, namespace=self._namespace)
        return (item.id for item in page.vectors)

    patch.setattr(PineconeBackend, "_pages", pages)


def prefix_alone_counts(patch: Patch) -> None:
    patch.setattr(backend, "is_record_of", lambda document_id, record_id: True)


def hashes_ignored(patch: Patch) -> None:
    patch.setattr(backend, "hashes_by_point", lambda record_ids: dict.fromkeys(map(records.point_id_of, record_ids), "x"))


def always_new(patch: Patch) -> None:
    patch.setattr(PineconeBackend, "_list", lambda self, document_id: frozenset())


def another_namespace_is_searched(patch: Patch) -> None:
    right = PineconeBackend.query

    def query(self: PineconeBackend, vector: Any, limit: int, filter: Any) -> Any:
        patch.setattr(self, "_namespace", "other")
        return right(self, vector, limit, filter)

    patch.setattr(PineconeBackend, "query", query)


def filter_forgotten(patch: Patch) -> None:
    right = PineconeBackend.query
    patch.setattr(PineconeBackend, "query", lambda self, vector, limit, filter: right(self, vector, limit, {"from": "b"}))


MUTATIONS: tuple[Callable[[Patch], None], ...] = (
    tasks_swapped,
    queries_as_passages,
    a_batch_lost,
    a_batch_deleted_in_part,
    changed("another_field_name", renamed),
    changed("rounded_vectors", lambda record: record | {"values": [round(value, 6) for value in record["values"]]}),
    changed("one_id_for_all", lambda record: record | {"id": "x#0#" + "0" * 64}),
    what_is_replaced_stays,
    no_waiting_at_the_end,
    no_waiting_for_the_record,
    first_page_only,
    prefix_alone_counts,
    hashes_ignored,
    always_new,
    another_namespace_is_searched,
    filter_forgotten,
)


def test_the_store_passes_as_it_is(short: Encoder, monkeypatch: Patch) -> None:
    check(short, monkeypatch)


@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__qualname__)
def test_a_mistake_is_noticed(short: Encoder, monkeypatch: Patch, mutate: Callable[[Patch], None]) -> None:
    mutate(monkeypatch)
    with pytest.raises((AssertionError, KeyError, ValueError, pytest.fail.Exception)):
        check(short, monkeypatch)
