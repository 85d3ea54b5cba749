"""Through every public method, sync and async, on every kind of Qdrant: what is stored and searched is what the encoder makes."""

from typing import Any

import numpy as np
import pytest
from qdrant_client import models

from support.qdrant.points import (
    COLLECTION,
    JINA,
    QUESTION,
    TEXTS,
    WIDTH,
    AnyClient,
    assert_equal,
    create,
    document,
    points,
    stored,
    vector_params,
)
from taskvec import Encoder


def upsert_points(any_client: AnyClient) -> None:
    any_client.upsert(COLLECTION, points())


def upsert_batch(any_client: AnyClient) -> None:
    texts = [document(text) for text in TEXTS]
    any_client.upsert(COLLECTION, models.Batch(ids=[0, 1, 2, 3], vectors=texts, payloads=[{"text": text} for text in TEXTS]))


def upsert_inference_objects(any_client: AnyClient) -> None:
    objects = [models.InferenceObject(object=text, model=JINA) for text in TEXTS]
    any_client.upsert(collection_name=COLLECTION, points=[models.PointStruct(id=i, vector=one) for i, one in enumerate(objects)])


def upload_points(any_client: AnyClient) -> None:
    any_client.upload_points(COLLECTION, (point for point in points()), batch_size=3)


def upload_collection(any_client: AnyClient) -> None:
    any_client.upload_collection(COLLECTION, (document(text) for text in TEXTS), ids=range(4), batch_size=3)


def upload_collection_list(any_client: AnyClient) -> None:
    any_client.upload_collection(COLLECTION, [document(text) for text in TEXTS], ids=[0, 1, 2, 3], payload=[{}] * 4, batch_size=1)


def update_vectors(any_client: AnyClient) -> None:
    any_client.upsert(COLLECTION, points(["something else"] * 4))
    any_client.update_vectors(COLLECTION, [models.PointVectors(id=i, vector=document(text)) for i, text in enumerate(TEXTS)])


def batch_update_points(any_client: AnyClient) -> None:
    first = models.UpsertOperation(upsert=models.PointsList(points=points(["something else", *TEXTS[1:]])))
    changed = models.UpdateVectors(points=[models.PointVectors(id=0, vector=document(TEXTS[0]))])
    any_client.batch_update_points(COLLECTION, [first, models.UpdateVectorsOperation(update_vectors=changed)])


WRITES = [
    upsert_points,
    upsert_batch,
    upsert_inference_objects,
    upload_points,
    upload_collection,
    upload_collection_list,
    update_vectors,
    batch_update_points,
]


@pytest.mark.parametrize("write", WRITES)
def test_vectors_written_are_those_of_encode_documents(write: Any, any_client: AnyClient, mini: Encoder) -> None:
    create(any_client)
    write(any_client)
    assert_equal(stored(any_client), mini.encode_documents(TEXTS))


def query_points(any_client: AnyClient) -> Any:
    return any_client.query_points(COLLECTION, document(QUESTION), limit=4).points


def query_points_nearest(any_client: AnyClient) -> Any:
    return any_client.query_points(COLLECTION, query=models.NearestQuery(nearest=document(QUESTION)), limit=4).points


def query_points_prefetch(any_client: AnyClient) -> Any:
    inner = models.Prefetch(query=document(QUESTION), limit=4)
    outer = models.Prefetch(prefetch=[inner], query=document(QUESTION), limit=4)
    return any_client.query_points(COLLECTION, document(QUESTION), prefetch=[outer], limit=4).points


def query_points_groups(any_client: AnyClient) -> Any:
    found = any_client.query_points_groups(COLLECTION, group_by="text", query=document(QUESTION), limit=4, group_size=1)
    return [hit for group in found.groups for hit in group.hits]


def query_batch_points(any_client: AnyClient) -> Any:
    other = models.QueryRequest(query=document("something else"), limit=1)
    return any_client.query_batch_points(COLLECTION, [other, models.QueryRequest(query=document(QUESTION), limit=4)])[1].points


QUERIES = [query_points, query_points_nearest, query_points_prefetch, query_points_groups, query_batch_points]


@pytest.mark.parametrize("query", QUERIES)
def test_scores_found_are_those_of_encode_queries(query: Any, any_client: AnyClient, mini: Encoder) -> None:
    create(any_client)
    any_client.upsert(COLLECTION, points())
    scores = {hit.id: hit.score for hit in query(any_client)}
    asked, wrong = mini.encode_queries(QUESTION), mini.encode_documents(QUESTION)
    texts = mini.encode_documents(TEXTS)
    assert_equal([scores[i] for i in range(4)], texts @ asked)
    assert np.abs(texts @ (asked - wrong)).max() > 0.01  # so the passage adapter would have been noticed


@pytest.mark.parametrize("dimensions", [1, 100, WIDTH])
def test_dimensions_of_documents_and_queries(dimensions: int, any_client: AnyClient, mini: Encoder) -> None:
    create(any_client, size=dimensions)
    any_client.upload_points(COLLECTION, points(dimensions=dimensions))
    expected = mini.encode_documents(TEXTS, dimensions=dimensions)
    assert_equal(stored(any_client), expected)
    hits = any_client.query_points(COLLECTION, document(QUESTION, dimensions=dimensions), limit=4).points
    query = mini.encode_queries(QUESTION, dimensions=dimensions)
    assert_equal(sorted(hit.score for hit in hits), sorted(expected @ query))


def test_late_chunking_of_several_documents(any_client: AnyClient, mini: Encoder) -> None:
    create(any_client)
    chunks = [[f"The {thing} is new.", "It was bought today.", "It is blue."] for thing in ("car", "house", "boat")]
    flat = [(document_id, chunk) for document_id, texts in enumerate(chunks) for chunk in texts]
    vectors = [document(chunk, document_id=document_id) for document_id, chunk in flat]
    any_client.upload_points(COLLECTION, (models.PointStruct(id=i, vector=vector) for i, vector in enumerate(vectors)))
    assert_equal(stored(any_client, 9), np.concatenate(mini.encode_chunks(chunks)))


def test_a_whole_text_becomes_a_multivector(any_client: AnyClient, mini: Encoder) -> None:
    text = " ".join(TEXTS)
    create(any_client, named={"chunks": vector_params(multi=True)})
    spans = [(0, 39), (40, 94)]
    any_client.upsert(COLLECTION, [models.PointStruct(id=0, vector={"chunks": document(text, spans=spans)})])
    (expected,) = mini.encode_spans([text], [spans])
    assert_equal(stored(any_client, 1, "chunks")[0], expected)
    (hit,) = any_client.query_points(COLLECTION, document(QUESTION, chunk_tokens=100), using="chunks").points
    assert_equal(hit.score, (expected @ mini.encode_queries(QUESTION)).max())


@pytest.mark.parametrize("lazy", [False, True], ids=["list", "generator"])
@pytest.mark.parametrize("column", ["ids", "payload"])
@pytest.mark.parametrize("count", [1, 3])
def test_an_upload_that_leaves_vectors_out_says_so(any_client: AnyClient, column: str, lazy: bool, count: int) -> None:
    create(any_client)
    columns: dict[str, Any] = {"ids": list(range(4)), "payload": [{}] * 4}
    columns[column] = iter(columns[column][:count]) if lazy else columns[column][:count]
    with pytest.raises(ValueError, match=rf"{column} has {count} items for \d vectors or more, so only the first {count} were"):
        any_client.upload_collection(COLLECTION, (document(text) for text in TEXTS), **columns, batch_size=1)
    assert len(any_client.retrieve(COLLECTION, [0, 1, 2, 3])) == count


def test_an_upload_may_be_given_more_ids_than_vectors(any_client: AnyClient) -> None:
    create(any_client)
    any_client.upload_collection(
        COLLECTION, (document(text) for text in TEXTS), ids=iter(range(9)), payload=({} for _ in range(9))
    )
    assert len(any_client.retrieve(COLLECTION, list(range(9)))) == 4
