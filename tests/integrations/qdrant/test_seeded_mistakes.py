"""The check of the client fails under each subtle mistake that could be made, so passing it means something."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel
from qdrant_client import QdrantClient, models

from support.qdrant.points import COLLECTION, QUESTION, TEXTS, WIDTH, assert_equal, create, document, stored
from taskvec import Encoder
from taskvec_integrations.qdrant import TaskvecQdrantClient, embed, encode_requests, find_documents
from taskvec_integrations.qdrant.document_options import DocumentOptions, Operation
from taskvec_integrations.qdrant.embed import DocumentEmbedder
from taskvec_integrations.qdrant.encode_requests import VectorSlice
from taskvec_integrations.qdrant.intercept import embed_arguments

Patch = pytest.MonkeyPatch

SIZES = {"full": WIDTH, "cut": 64, "late": 64}


def check_client(encoder: Encoder) -> None:
    """Write, search and compare with the encoder: tasks, dimensions, late chunking, a payload, and the arguments unchanged."""
    qdrant = TaskvecQdrantClient(":memory:", encoder=encoder)
    dot = models.Distance.DOT  # with cosine Qdrant would normalize what we forget to
    create(qdrant, named={name: models.VectorParams(size=size, distance=dot) for name, size in SIZES.items()})
    options: dict[str, dict[str, Any]] = {"full": {}, "cut": {"dimensions": 64}, "late": {"dimensions": 64, "document_id": "a"}}
    vectors: list[Any] = [{name: document(text, **options[name]) for name in SIZES} for text in TEXTS]
    payload = {"kept": document("in the payload")}
    points = [models.PointStruct(id=i, vector=vector, payload=payload) for i, vector in enumerate(vectors)]
    before = deepcopy(points)
    qdrant.upload_points(COLLECTION, points[:2])
    qdrant.upsert(COLLECTION, points)
    assert points == before
    assert (qdrant._embedder.embed(points[0], "document").payload or {})["kept"] is payload["kept"]
    full, late = encoder.encode_documents(TEXTS), encoder.encode_documents(TEXTS, dimensions=64, late_chunking=True)
    assert_equal(stored(qdrant, name="full"), full)
    assert_equal(stored(qdrant, name="cut"), encoder.encode_documents(TEXTS, dimensions=64))
    assert_equal(stored(qdrant, name="late"), late)
    query = encoder.encode_queries(QUESTION)
    hits = qdrant.query_points(COLLECTION, document(QUESTION), using="full", limit=4).points
    assert_equal([hit.score for hit in hits], np.sort(full @ query)[::-1])
    operations = [models.UpsertOperation(upsert=models.PointsList(points=points[2:]))]
    qdrant.batch_update_points(COLLECTION, operations)
    assert_equal(stored(qdrant, name="full"), full)


def operations_swapped(patch: Patch) -> None:
    right = DocumentEmbedder.find_requests
    other: dict[str, Operation] = {"document": "query", "query": "document"}
    patch.setattr(DocumentEmbedder, "find_requests", lambda self, value, operation: right(self, value, other[operation]))


def queries_as_documents(patch: Patch) -> None:
    patch.setattr(
        TaskvecQdrantClient, "query_points", embed_arguments(QdrantClient.query_points, "document", "query", "prefetch")
    )


def method_not_replaced(name: str) -> Callable[[Patch], None]:
    return lambda patch: patch.setattr(TaskvecQdrantClient, name, getattr(QdrantClient, name))


def task_forgotten(patch: Patch) -> None:
    patch.setattr(embed, "choose_task", lambda task, operation: None)


def dimensions_forgotten(patch: Patch) -> None:
    right = DocumentOptions.from_document
    patch.setattr(DocumentOptions, "from_document", lambda *args: replace(right(*args), dimensions=None))


def not_normalized_after_the_cut(patch: Patch) -> None:
    patch.setattr(VectorSlice, "to_list", lambda self: self.source.vectors[self.rows, : self.dimensions].tolist())


def late_chunking_forgotten(patch: Patch) -> None:
    patch.setattr(DocumentOptions, "shares_context", False)


def chunks_of_other_vectors_joined(patch: Patch) -> None:
    right = encode_requests.group_chunks

    def group_chunks(requests: Any) -> Any:
        return right([replace(request, path=()) for request in requests])

    patch.setattr(encode_requests, "group_chunks", group_chunks)


def vectors_in_another_order(patch: Patch) -> None:
    right = encode_requests.encode_requests
    patch.setattr(embed, "encode_requests", lambda requests: right(requests)[::-1])


def payload_looked_into(patch: Patch) -> None:
    patch.setattr(find_documents, "OPAQUE", set())


def arguments_changed(patch: Patch) -> None:
    def in_place(self: Any, update: Any) -> Any:
        vars(self).update(update)
        return self

    patch.setattr(BaseModel, "model_copy", in_place)


MISTAKES = [
    operations_swapped,
    queries_as_documents,
    *(pytest.param(method_not_replaced(name), id=f"{name}_not_replaced") for name in ("upsert", "upload_points", "query_points")),
    pytest.param(method_not_replaced("batch_update_points"), id="batch_update_points_not_replaced"),
    task_forgotten,
    dimensions_forgotten,
    not_normalized_after_the_cut,
    late_chunking_forgotten,
    chunks_of_other_vectors_joined,
    vectors_in_another_order,
    payload_looked_into,
    arguments_changed,
]


def test_the_check_passes_without_a_mistake(mini: Encoder) -> None:
    check_client(mini)


@pytest.mark.parametrize("make_mistake", MISTAKES)
def test_the_check_fails_under(make_mistake: Callable[[Patch], None], mini: Encoder, monkeypatch: Patch) -> None:
    with monkeypatch.context() as patch:
        make_mistake(patch)
        with pytest.raises((AssertionError, ImportError, ValueError, TypeError)):
            check_client(mini)
