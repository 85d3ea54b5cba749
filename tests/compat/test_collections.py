"""Collections of an earlier version: their record is understood, their ids and hashes are those of now, search finds what it did.

The fixtures were made by make_fixtures.py with the documents and settings of texts.py; each test works on a copy.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from compat.pinecone_stub import StubIndex
from compat.texts import BREAD, COLLECTIONS, DOCUMENTS, QUESTIONS
from taskvec import Encoder
from taskvec_integrations.pinecone import PineconeStore
from taskvec_integrations.qdrant import QdrantStore
from taskvec_integrations.store import Document, Store
from taskvec_integrations.store_url import StoreURL

FIXTURES = Path(__file__).parent / "fixtures" / "collections"

Open = Callable[..., AbstractContextManager[Store]]
"""A store on a collection in a copy of the fixtures, with other settings where some are given."""


@contextmanager
def by_url(form: str, name: str, folder: Path, **others: Any) -> Iterator[Store]:
    with StoreURL.parse(form.format(folder)).open(name, **{**COLLECTIONS[name], **others}) as store:
        yield store


@contextmanager
def in_qdrant(name: str, vector_name: str, folder: Path, **others: Any) -> Iterator[Store]:
    client = QdrantClient(path=str(folder / "qdrant"))
    try:
        yield QdrantStore(client, name, vector_name=vector_name, **{"dimensions": 32, **others})
    finally:
        client.close()


@contextmanager
def in_pinecone(name: str, folder: Path, **others: Any) -> Iterator[Store]:
    index = StubIndex(json.loads((folder / "pinecone.json").read_text()), 32)
    yield PineconeStore(index, namespace=name, **{**COLLECTIONS[name], **others})


OPENINGS: dict[str, Callable[..., AbstractContextManager[Store]]] = {
    **{f"qdrant, {name}": partial(by_url, "qdrant://{}/qdrant", name) for name in COLLECTIONS},
    "qdrant, named vector": partial(in_qdrant, "named", "text"),
    "qdrant, record in a point": partial(in_qdrant, "record-in-a-point", ""),
    **{f"milvus, {name}": partial(by_url, "milvus://{}/milvus.db", name) for name in COLLECTIONS},
    **{f"pinecone, {name}": partial(in_pinecone, name) for name in COLLECTIONS},
}


@pytest.fixture(params=OPENINGS)
def open_store(request: pytest.FixtureRequest, tmp_path: Path, mini: Encoder) -> Open:
    copy = shutil.copytree(FIXTURES, tmp_path / "collections")
    return partial(OPENINGS[request.param], copy, encoder=mini)


def test_same_documents_cost_nothing(open_store: Open) -> None:
    with open_store() as store:
        report = store.ingest(DOCUMENTS)
    for counts in (report.documents, report.chunks):
        assert counts.read == counts.skipped > 0
        assert (counts.encoded, counts.written, counts.failed, counts.deleted) == (0, 0, 0, 0)
    assert report.documents.read == len(DOCUMENTS)
    assert not report.changed


def test_search_finds_the_document_with_the_answer(open_store: Open) -> None:
    payloads = {str(document.id): document.payload for document in DOCUMENTS if isinstance(document, Document)}
    texts = {str(document.id): document.text or BREAD for document in DOCUMENTS if isinstance(document, Document)}
    with open_store() as store:
        for question, document_id in QUESTIONS.items():
            best = store.search(question, limit=1)[0]
            assert best.document_id == document_id
            assert best.payload == payloads.get(document_id, {})
            assert best.text in texts.get(document_id, best.text)


def test_what_changed_is_all_that_is_written(open_store: Open) -> None:
    documents = [*DOCUMENTS, Document("new", "Tea is older than coffee.")]
    with open_store() as store:
        report = store.ingest(documents)
        assert (report.documents.written, report.chunks.encoded, report.chunks.deleted) == (1, 1, 0)
        assert store.search("Is tea older than coffee?", limit=1)[0].document_id == "new"
        assert not store.ingest(documents).changed


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"dimensions": 16}, "dimensions 32"),
        ({"document_task": "classification"}, "document_task"),
    ],
)
def test_record_is_compared(open_store: Open, others: dict[str, Any], message: str) -> None:
    with open_store(**others) as store, pytest.raises(ValueError, match=message):
        store.ingest(DOCUMENTS)
