"""The wiring check fails under each way the client could be subtly wrong, so passing it means something."""

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
from taskvec_integrations.qdrant import TaskvecQdrantClient, client, document_options, encoding
from taskvec_integrations.qdrant import embed as resolve
from taskvec_integrations.qdrant import find_documents as walk

Patch = pytest.MonkeyPatch

SIZES = {"full": WIDTH, "cut": 64, "late": 64}


def check_wiring(encoder: Encoder) -> None:
    """Write, search and compare with the encoder: tasks, dimensions, late chunking, a payload, and the arguments unchanged."""
    qdrant = TaskvecQdrantClient(":memory:", encoder=encoder)
    dot = {"distance": models.Distance.DOT}  # with cosine the backend would normalise what we forget to
    create(qdrant, **{name: models.VectorParams(size=size, **dot) for name, size in SIZES.items()})
    options = {"full": {}, "cut": {"dimensions": 64}, "late": {"dimensions": 64, "document_id": "a"}}
    vectors = [{name: document(text, **options[name]) for name in SIZES} for text in TEXTS]
    payload = {"kept": document("in the payload")}
    given = [models.PointStruct(id=i, vector=vector, payload=payload) for i, vector in enumerate(vectors)]
    before = deepcopy(given)
    qdrant.upload_points(COLLECTION, given[:2])
    qdrant.upsert(COLLECTION, given)
    assert given == before
    assert qdrant._resolver.resolve(given[0], "document").payload["kept"] is payload["kept"]
    full, late = encoder.encode_documents(TEXTS), encoder.encode_documents(TEXTS, dimensions=64, late_chunking=True)
    assert_equal(stored(qdrant, name="full"), full)
    assert_equal(stored(qdrant, name="cut"), encoder.encode_documents(TEXTS, dimensions=64))
    assert_equal(stored(qdrant, name="late"), late)
    query = encoder.encode_queries(QUESTION)
    hits = qdrant.query_points(COLLECTION, document(QUESTION), using="full", limit=4).points
    assert_equal([hit.score for hit in hits], np.sort(full @ query)[::-1])
    operations = [models.UpsertOperation(upsert=models.PointsList(points=given[2:]))]
    qdrant.batch_update_points(COLLECTION, operations)
    assert_equal(stored(qdrant, name="full"), full)


def operations_swapped(patch: Patch) -> None:
    right = resolve.Resolver.find
    other = {"document": "query", "query": "document"}
    patch.setattr(resolve.Resolver, "find", lambda self, value, operation: right(self, value, other[operation]))


def queries_as_documents(patch: Patch) -> None:
    patch.setattr(
        TaskvecQdrantClient, "query_points", client.resolving(QdrantClient.query_points, "document", "query", "prefetch")
    )


def method_not_wired(name: str) -> Callable[[Patch], None]:
    return lambda patch: patch.setattr(TaskvecQdrantClient, name, getattr(QdrantClient, name))


def task_forgotten(patch: Patch) -> None:
    patch.setattr(document_options.DocumentOptions, "task_or", lambda self, default: None)


def dimensions_forgotten(patch: Patch) -> None:
    right = document_options.DocumentOptions.read
    patch.setattr(resolve.DocumentOptions, "read", lambda *args: replace(right(*args), dimensions=None))


def not_normalised_after_the_cut(patch: Patch) -> None:
    patch.setattr(encoding.Cut, "vector", lambda self: self.work.vectors[self.row, : self.dimensions].tolist())


def late_chunking_forgotten(patch: Patch) -> None:
    patch.setattr(document_options.DocumentOptions, "joined", False)


def chunks_of_other_vectors_joined(patch: Patch) -> None:
    right = encoding.runs

    def runs(requests: Any) -> Any:
        return right([request._replace(path=()) for request in requests])

    patch.setattr(encoding, "runs", runs)


def vectors_in_another_order(patch: Patch) -> None:
    right = resolve.encode
    patch.setattr(resolve, "encode", lambda requests: right(requests)[::-1])


def payload_looked_into(patch: Patch) -> None:
    patch.setattr(walk, "OPAQUE", set())


def arguments_changed(patch: Patch) -> None:
    def in_place(self: Any, update: Any) -> Any:
        vars(self).update(update)
        return self

    patch.setattr(BaseModel, "model_copy", in_place)


MUTATIONS = [
    operations_swapped,
    queries_as_documents,
    *(pytest.param(method_not_wired(name), id=f"{name}_not_wired") for name in ("upsert", "upload_points", "query_points")),
    pytest.param(method_not_wired("batch_update_points"), id="batch_update_points_not_wired"),
    task_forgotten,
    dimensions_forgotten,
    not_normalised_after_the_cut,
    late_chunking_forgotten,
    chunks_of_other_vectors_joined,
    vectors_in_another_order,
    payload_looked_into,
    arguments_changed,
]


def test_the_check_passes_without_a_mutation(mini: Encoder) -> None:
    check_wiring(mini)


@pytest.mark.parametrize("mutate", MUTATIONS)
def test_the_check_fails_under(mutate: Callable[[Patch], None], mini: Encoder, monkeypatch: Patch) -> None:
    with monkeypatch.context() as patch:
        mutate(patch)
        with pytest.raises((AssertionError, ImportError, ValueError, TypeError)):
            check_wiring(mini)
