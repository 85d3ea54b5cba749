"""A check of the indexes and of the embedder fails under each way that they could be subtly wrong."""

from collections.abc import Callable
from copy import deepcopy

import numpy as np
import pytest

from support.mistakes import tasks_swapped
from support.pinecone.emulator import pinecone
from support.pinecone.indexes import QUESTION, SCHEMA, TEXTS, VERSION, faces, records, values
from taskvec import Encoder
from taskvec_integrations.pinecone import documents, embed, index, inference, limits, searches
from taskvec_integrations.pinecone.index import AsyncTaskvecIndex, TaskvecIndex
from taskvec_integrations.pinecone.inference import TaskvecInference
from taskvec_integrations.pinecone.parameters import EmbedParameters

Patch = pytest.MonkeyPatch


def check_wiring(encoder: Encoder) -> None:
    """Embed, write and search with text, and compare with the encoder: tasks, dimensions, order, fields, arguments unchanged."""
    check_inference(encoder)
    for kind in ("sync", "async"):
        check_records(encoder, kind)
        if VERSION >= 10:
            check_documents(encoder, kind)


def check_inference(encoder: Encoder) -> None:
    inference = TaskvecInference(encoder)
    passages, query = inference.embed("mini", TEXTS), inference.embed("mini", QUESTION, {"input_type": "query", "dimension": 64})
    np.testing.assert_array_equal([*map(np.float32, [one["values"] for one in passages])], encoder.encode_documents(TEXTS))
    np.testing.assert_array_equal(np.float32(query[0]["values"]), encoder.encode_queries(QUESTION, dimensions=64))


def check_records(encoder: Encoder, kind: str) -> None:
    given, rerank = records(), {"model": "m", "rank_fields": ["text"]}
    before = deepcopy((given, rerank))
    with pinecone(64) as server, faces(kind, server.url, encoder=encoder, dimensions=64) as face:
        face.upsert_records(records=given, namespace="ns")
        np.testing.assert_array_equal(values(server, "ns"), encoder.encode_documents(TEXTS, dimensions=64))
        assert [record.fields for record in server.stored("ns").values()] == [
            {"text": text, "place": place} for place, text in enumerate(TEXTS)
        ]
        found = face.search(namespace="ns", inputs={"text": QUESTION}, top_k=9, rerank=rerank, filter={"place": {"$lt": 3}})
        asked = server.sent("records/search")[-1].body
        assert len(found.result.hits) == 3
        sent = np.asarray(asked["query"]["vector"]["values"], np.float32)
        np.testing.assert_array_equal(sent, encoder.encode_queries(QUESTION, dimensions=64))
        assert asked["rerank"]["query"] == QUESTION
    assert (given, rerank) == before


def check_documents(encoder: Encoder, kind: str) -> None:
    options = {"encoder": encoder, "vector_fields": {"embedding": "text"}}
    given = records()
    with pinecone(schema=SCHEMA) as server, faces(kind, server.url, **options) as face:
        for method in ("upsert", "batch_upsert"):
            getattr(face.documents, method)(namespace=method, documents=given)
            held = [record.fields["embedding"] for record in server.stored(method).values()]
            np.testing.assert_array_equal(held, encoder.encode_documents(TEXTS))
        clause = {"type": "embed", "field": "embedding", "query": QUESTION}
        assert len(face.documents.search(namespace="upsert", score_by=[clause], top_k=2).matches) == 2
        sent = server.sent("documents/search")[-1].body["score_by"][0]["values"]
        np.testing.assert_array_equal(np.float32(sent), encoder.encode_queries(QUESTION))
    assert given == records()


def task_forgotten(patch: Patch) -> None:
    patch.setattr(
        embed.RecordEmbedder, "_encode_options", lambda self, operation: {"task": None, "dimensions": self.settings.dimensions}
    )


def dimensions_forgotten(patch: Patch) -> None:
    patch.setattr(embed.RecordEmbedder, "_encode_options", lambda self, operation: {"task": self.settings.task(operation)})


def vectors_in_another_order(patch: Patch) -> None:
    right = embed.RecordEmbedder._encode_documents
    patch.setattr(embed.RecordEmbedder, "_encode_documents", lambda self, texts, fields: right(self, texts, fields)[::-1])


def numbers_rounded(patch: Patch) -> None:
    for module in (embed, inference):
        patch.setattr(module, "short_floats", lambda vectors: vectors.round(7).tolist())


def batch_lost(patch: Patch) -> None:
    right = limits.batches
    patch.setattr(embed, "batches", lambda items: [*right(items)][:1])


def batch_sent_twice_instead_of_the_next(patch: Patch) -> None:
    right = limits.batches
    patch.setattr(embed, "batches", lambda items: [next(iter(right(items)))] * 2)


def metadata_lost(patch: Patch) -> None:
    right = limits.batches
    patch.setattr(embed, "batches", lambda items: right({**item, "metadata": {}} for item in items))


def field_misnamed(patch: Patch) -> None:
    right = limits.batches
    patch.setattr(embed, "batches", lambda items: right({"id": item["id"], "vector": item["values"]} for item in items))


def namespace_lost(patch: Patch) -> None:
    patch.setattr(index, "upsert_options", lambda namespace, timeout: {})


def text_sent_to_pinecone(patch: Patch) -> None:
    patch.setattr(searches, "query_text", lambda query: None)


def filter_lost(patch: Patch) -> None:
    right = searches.with_vector
    patch.setattr(searches, "with_vector", lambda query, values: right({"top_k": query["top_k"]}, values))


def reranked_without_the_text(patch: Patch) -> None:
    patch.setattr(searches, "with_rerank_query", lambda rerank, text: rerank)


def caller_changed(patch: Patch) -> None:
    patch.setattr(embed, "as_dict", lambda value: value)


def input_type_ignored(patch: Patch) -> None:
    patch.setattr("taskvec_integrations.pinecone.parameters.OPERATIONS", dict.fromkeys(("passage", "query"), "document"))


def dimension_ignored(patch: Patch) -> None:
    right = EmbedParameters.encode_options
    patch.setattr(
        EmbedParameters, "encode_options", lambda self, settings: {**right(self, settings), "dimensions": settings.dimensions}
    )


def method_not_wired(owner: type, name: str) -> Callable[[Patch], None]:
    return lambda patch: patch.delattr(owner, name)


MUTATIONS = [
    tasks_swapped,
    task_forgotten,
    dimensions_forgotten,
    vectors_in_another_order,
    numbers_rounded,
    batch_lost,
    batch_sent_twice_instead_of_the_next,
    metadata_lost,
    field_misnamed,
    namespace_lost,
    text_sent_to_pinecone,
    filter_lost,
    reranked_without_the_text,
    input_type_ignored,
    dimension_ignored,
    *(
        pytest.param(method_not_wired(owner, name), id=f"{owner.__name__}.{name}_not_wired")
        for owner in (TaskvecIndex, AsyncTaskvecIndex)
        for name in ("upsert_records", "search")
    ),
]

DOCUMENT_MUTATIONS = [
    caller_changed,
    *(
        pytest.param(method_not_wired(owner, name), id=f"{owner.__name__}.{name}_not_wired")
        for owner in (documents.TaskvecDocuments, documents.AsyncTaskvecDocuments)
        for name in ("upsert", "batch_upsert", "search")
    ),
]


@pytest.fixture(autouse=True)
def _several_requests(monkeypatch: Patch) -> None:
    monkeypatch.setattr(limits, "MAX_REQUEST_VECTORS", 3)


def test_the_check_passes_without_a_mutation(mini: Encoder) -> None:
    check_wiring(mini)


@pytest.mark.parametrize("mutate", MUTATIONS + DOCUMENT_MUTATIONS if VERSION >= 10 else MUTATIONS)
def test_the_check_fails_under(mutate: Callable[[Patch], None], mini: Encoder, monkeypatch: Patch) -> None:
    with monkeypatch.context() as patch:
        mutate(patch)
        with pytest.raises(Exception):  # noqa: B017, PT011 whatever the SDK makes of it
            check_wiring(mini)
