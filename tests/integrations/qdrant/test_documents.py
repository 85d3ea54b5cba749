"""Which Documents are embedded, in every kind of query, and what is left alone."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from qdrant_client import models

from support.qdrant.points import (
    COLLECTION,
    JINA,
    QUESTION,
    WIDTH,
    assert_equal,
    create,
    document,
    points,
    stored,
    vector_params,
)
from taskvec import Encoder
from taskvec_integrations.qdrant import TaskvecQdrantClient
from taskvec_integrations.qdrant.embed import DocumentEmbedder

Client = TaskvecQdrantClient


@pytest.mark.parametrize("name", [JINA, f"{JINA}-hf", "jina-embeddings-v3", "JinaAI/Jina-Embeddings-v3", "mini"])
def test_names_that_the_client_answers_to(name: str, client: Client, mini: Encoder) -> None:
    create(client)
    client.upsert(COLLECTION, [models.PointStruct(id=0, vector=models.Document(text="a", model=name))])
    assert_equal(stored(client, 1)[0], mini.encode_documents("a"))


def test_an_encoder_answers_to_its_own_name_and_mini_stays_mini(encoder: Encoder) -> None:
    """`encoder` is a folder with random weights, 64 wide."""
    client = TaskvecQdrantClient(":memory:", encoder=encoder)
    create(client, named={"own": vector_params(encoder.dimensions), "mini": vector_params()})
    vector: Any = {"own": models.Document(text="a", model=encoder.model_id), "mini": models.Document(text="a", model="mini")}
    client.upsert(COLLECTION, [models.PointStruct(id=0, vector=vector)])
    assert_equal(stored(client, 1, "own")[0], encoder.encode_documents("a"))
    assert stored(client, 1, "mini").shape == (1, WIDTH)
    client.close()


def test_no_encoder_is_loaded_until_a_document_needs_one(monkeypatch: pytest.MonkeyPatch) -> None:
    client = TaskvecQdrantClient(":memory:")  # the hub model, which is not here
    create(client, 2)
    client.upsert(COLLECTION, [models.PointStruct(id=0, vector=[1.0, 0.0])])
    assert client.query_points(COLLECTION, [1.0, 0.0]).points[0].id == 0
    client.close()


def test_payloads_are_never_looked_into(client: Client) -> None:
    create(client)
    payload = {"document": document("in the payload"), "nested": [{"document": document("deeper")}]}
    (point,) = points(["a"])
    embedded = client._embedder.embed([point.model_copy(update={"payload": payload})], "document")
    assert embedded[0].payload is payload
    batch = models.Batch(ids=[0], vectors=[document("a")], payloads=[payload])
    assert client._embedder.embed(batch, "document").payloads is batch.payloads
    operation = models.SetPayloadOperation(set_payload=models.SetPayload(payload=payload, points=[0]))
    assert client._embedder.embed([operation], "document")[0] is operation


def test_documents_of_other_models_pass_through_untouched(client: Client) -> None:
    other = models.Document(text="a", model="Qdrant/bm25", options={"language": "english"})
    point = models.PointStruct(id=0, vector={"words": other, "dense": document("a")})
    (embedded,) = client._embedder.embed([point], "document")
    vectors: Any = embedded.vector
    assert vectors["words"] is other
    assert len(vectors["dense"]) == WIDTH


def test_nothing_is_changed_in_place_and_what_needs_no_change_is_the_same_object(client: Client) -> None:
    plain = models.PointStruct(id=1, vector=[0.0] * WIDTH)
    originals = [*points(["a"]), plain]
    before = [point.model_copy(deep=True) for point in originals]
    embedded = client._embedder.embed(originals, "document")
    assert originals == before
    assert embedded is not originals
    assert embedded[1] is plain
    assert client._embedder.embed([plain], "document")[0] is plain
    query = models.Prefetch(prefetch=[models.Prefetch(query=document("a"))], query=document("b"))
    copy = query.model_copy(deep=True)
    client._embedder.embed(query, "query")
    assert query == copy


def kinds_of_query(vector: Any) -> Iterator[Any]:
    """Arguments of `query_points` around a Document or the vector it stands for."""
    yield {"query": models.NearestQuery(nearest=vector)}
    for strategy in (models.RecommendStrategy.AVERAGE_VECTOR, models.RecommendStrategy.BEST_SCORE):
        recommend = models.RecommendInput(positive=[0, vector, [1.0] + [0.0] * (WIDTH - 1)], negative=[vector], strategy=strategy)
        yield {"query": models.RecommendQuery(recommend=recommend)}
    pair = models.ContextPair(positive=vector, negative=3)
    yield {"query": models.DiscoverQuery(discover=models.DiscoverInput(target=vector, context=[pair]))}
    yield {"query": models.DiscoverQuery(discover=models.DiscoverInput(target=2, context=pair))}
    yield {"query": models.ContextQuery(context=[models.ContextPair(positive=1, negative=vector)])}
    prefetch = models.Prefetch(query=models.RecommendQuery(recommend=models.RecommendInput(positive=[vector])), limit=3)
    yield {"query": models.FusionQuery(fusion=models.Fusion.RRF), "prefetch": [prefetch, models.Prefetch(query=vector, limit=2)]}
    yield {"query": vector, "prefetch": models.Prefetch(prefetch=[prefetch], query=vector, limit=3)}


def test_documents_in_every_kind_of_query_are_embedded_as_queries(client: Client, mini: Encoder) -> None:
    create(client)
    client.upsert(COLLECTION, points())
    vector = mini.encode_queries(QUESTION).tolist()
    pairs = zip(kinds_of_query(document(QUESTION)), kinds_of_query(vector), strict=True)
    for number, (with_document, with_vector) in enumerate(pairs):
        found, expected = (client.query_points(COLLECTION, **kind).points for kind in (with_document, with_vector))
        assert [hit.id for hit in found] == [hit.id for hit in expected], number
        assert_equal([hit.score for hit in found], [hit.score for hit in expected])
        assert found, number


def test_closing_lets_go_of_what_was_loaded_by_name_only(mini: Encoder) -> None:
    client = TaskvecQdrantClient(":memory:", encoder="mini")
    create(client)
    client.upsert(COLLECTION, points())
    loaded = client._embedder._models["mini"].get()
    client.close()
    with pytest.raises(RuntimeError, match="is closed"):
        loaded.encode("a")
    other = TaskvecQdrantClient(":memory:", encoder=mini)
    other.close()
    assert mini.encode("a").shape == (WIDTH,)


def test_what_holds_no_document_stays_the_same_object() -> None:
    embedder = DocumentEmbedder("mini", "auto", "auto")
    for value in (None, 3, "text", [1.0, 2.0], np.ones(3), {"a": object()}, b"bytes", [[1.0], [2.0]], [*np.ones(3)], ()):
        assert embedder.embed(value, "document") is value
