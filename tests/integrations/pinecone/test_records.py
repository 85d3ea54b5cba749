"""Records with text on an index of a dimension and a metric: what is stored and searched is what the encoder makes."""

from math import inf
from typing import Any

import numpy as np
import pytest

from support.pinecone.emulator import MAX_BODY, PineconeServer, pinecone
from support.pinecone.indexes import IDS, QUESTION, TEXTS, WIDTH, Face, faces, records, values, while_loop_is_free
from taskvec import Encoder

DEFAULT = "__default__"


def sent_vector(server: PineconeServer) -> Any:
    """The vector of the last search, as the server read it."""
    return np.asarray(server.sent("records/search")[-1].body["query"]["vector"]["values"], np.float32)


@pytest.mark.parametrize("namespace", [DEFAULT, "other"])
def test_vectors_stored_are_those_of_encode_documents_bit_for_bit(
    face: Face, server: PineconeServer, mini: Encoder, namespace: str
) -> None:
    answer = face.upsert_records(records=records(), namespace=namespace)
    assert 4 in answer.to_dict().values()
    np.testing.assert_array_equal(values(server, namespace), mini.encode_documents(TEXTS))
    stored = server.stored(namespace)["nobel"]
    assert stored.fields == {"text": TEXTS[1], "place": 1}


@pytest.mark.parametrize(
    "asked",
    [{"inputs": {"text": QUESTION}, "top_k": 3}, {"query": {"inputs": {"text": QUESTION}, "top_k": 3}}],
    ids=["parts", "query"],
)
@pytest.mark.parametrize("method", ["search", "search_records"])
def test_vectors_sent_are_those_of_encode_queries_bit_for_bit(
    face: Face, server: PineconeServer, mini: Encoder, method: str, asked: dict[str, Any]
) -> None:
    face.upsert_records(records=records(), namespace=DEFAULT)
    found = getattr(face, method)(namespace=DEFAULT, **asked)
    np.testing.assert_array_equal(sent_vector(server), mini.encode_queries(QUESTION))
    scores = mini.encode_documents(TEXTS) @ mini.encode_queries(QUESTION)
    assert [hit.fields["text"] for hit in found.result.hits] == [TEXTS[place] for place in np.argsort(-scores)[:3]]


def test_filters_and_fields_reach_pinecone(face: Face) -> None:
    face.upsert_records(records=records(), namespace=DEFAULT)
    condition = {"$or": [{"place": {"$gt": 2}}, {"place": {"$in": [0]}}]}
    found = face.search(namespace=DEFAULT, inputs={"text": QUESTION}, top_k=9, filter=condition, fields=["place"])
    assert [hit.fields for hit in found.result.hits] == [{"place": 0}, {"place": 3}]


def test_searching_by_id_or_by_a_vector_embeds_nothing(face: Face, server: PineconeServer, mini: Encoder) -> None:
    face.upsert_records(records=records(), namespace=DEFAULT)
    face.wrapped._embedder.encoder.source = "no such model"
    by_id = face.search(namespace=DEFAULT, id="yeast", top_k=1)
    assert by_id.result.hits[0].fields["text"] == TEXTS[2]
    for vector in (mini.encode_documents(TEXTS[3]), {"values": mini.encode_documents(TEXTS[3]).tolist()}):
        found = face.search(namespace=DEFAULT, vector=vector, top_k=1)
        assert found.result.hits[0].fields["text"] == TEXTS[3]


def test_pinecone_reranks_by_the_text_that_was_searched(face: Face, server: PineconeServer) -> None:
    face.upsert_records(records=records(), namespace=DEFAULT)
    rerank = {"model": "bge-reranker-v2-m3", "rank_fields": ["text"], "top_n": 1}
    found = face.search(namespace=DEFAULT, inputs={"text": "bread"}, top_k=4, rerank=rerank)
    assert [hit.fields["text"] for hit in found.result.hits] == [TEXTS[2]]
    assert server.sent("records/search")[-1].body["rerank"] == {**rerank, "query": "bread"}
    face.search(namespace=DEFAULT, inputs={"text": "bread"}, top_k=4, rerank={**rerank, "query": "Spree"})
    assert server.sent("records/search")[-1].body["rerank"]["query"] == "Spree"
    assert "query" not in rerank


def test_settings_reach_the_encoder(mini: Encoder) -> None:
    options = {"text_field": "chunk", "dimensions": 64, "document_task": "separation", "query_task": None}
    with pinecone(64) as narrow, faces("sync", narrow.url, encoder=mini, **options) as index:
        index.upsert_records(records=[{"id": "a", "chunk": TEXTS[0]}], namespace=DEFAULT)
        index.search(inputs={"text": QUESTION}, top_k=1, namespace=DEFAULT)
        expected = mini.encode(TEXTS[0], task="separation", dimensions=64)
        np.testing.assert_array_equal(narrow.stored()["a"].values, expected)
        np.testing.assert_array_equal(sent_vector(narrow), mini.encode(QUESTION, task=None, dimensions=64))


def test_chunks_of_a_document_share_its_context(server: PineconeServer, mini: Encoder) -> None:
    sources = ["a", "a", "b", None]
    given = [{**record, **({"source": source} if source else {})} for record, source in zip(records(), sources, strict=True)]
    with faces("sync", server.url, encoder=mini, document_field="source") as index:
        index.upsert_records(records=given, namespace=DEFAULT)
    late = mini.encode_chunks([TEXTS[:2], TEXTS[2:3], TEXTS[3:]])
    np.testing.assert_array_equal(values(server), np.concatenate(late))
    assert not np.allclose(late[0], mini.encode_documents(TEXTS[:2]))


def test_requests_are_filled_to_two_megabytes_of_what_the_sdk_really_sends(face: Face, server: PineconeServer) -> None:
    many = [{"_id": f"r{number}", "text": f"Text {number}", "filling": "é" * 1500} for number in range(600)]
    face.upsert_records(records=many, namespace=DEFAULT)
    assert len(server.stored()) == 600
    sizes = [request.size for request in server.sent("vectors/upsert")]
    assert max(sizes) <= MAX_BODY
    assert min(sizes[:-1]) > MAX_BODY * 0.98
    assert [request.status for request in server.requests if request.status != 200] == []


def test_at_most_a_thousand_go_in_a_request(mini: Encoder) -> None:
    with pinecone(4) as narrow, faces("sync", narrow.url, encoder=mini, dimensions=4) as small:
        small.upsert_records(records=[{"_id": str(number), "text": "the same"} for number in range(2001)], namespace=DEFAULT)
        assert [len(request.body["vectors"]) for request in narrow.sent("vectors/upsert")] == [1000, 1000, 1]


def test_a_request_that_fails_says_what_is_written(face: Face, server: PineconeServer) -> None:
    many = [{"_id": f"r{number}", "text": f"Text {number}", "filling": "x" * 30_000} for number in range(100)]
    server.fail(400, "vectors/upsert", every=2)
    with pytest.raises(Exception, match="told to fail") as caught:
        face.upsert_records(records=many, namespace=DEFAULT)
    written = len(server.stored())
    assert 0 < written < 100
    [note] = caught.value.__notes__
    assert note.startswith(
        f"records 0 to {written - 1} are written, the request that starts at record {written} ('r{written}') failed"
    )
    server.faults.clear()
    face.upsert_records(records=many[written:], namespace=DEFAULT)
    assert len(server.stored()) == 100


@pytest.mark.parametrize("fault", [429, 503, "reset"])
def test_what_passes_is_retried_by_the_sdk(face: Face, server: PineconeServer, fault: Any) -> None:
    server.fail(fault, times=1, headers={"retry-after": "0"})
    face.upsert_records(records=records(), namespace=DEFAULT)
    assert sorted(server.stored()) == sorted(IDS)


def test_everything_else_of_the_index_is_reached(face: Face, server: PineconeServer) -> None:
    face.upsert_records(records=records(), namespace=DEFAULT)
    assert face.describe_index_stats().total_vector_count == 4
    fetched = face.fetch(ids=["curie"]).vectors["curie"]
    assert fetched.metadata["text"] == TEXTS[0]
    assert face.query(vector=fetched.values, top_k=1).matches[0].id == "curie"
    face.delete(ids=["curie"])
    assert sorted(server.stored()) == ["nobel", "spree", "yeast"]
    with pytest.raises(AttributeError):
        face.wrapped.no_such_method  # noqa: B018


def test_late_writes_are_seen_when_they_are_there(mini: Encoder) -> None:
    with pinecone(WIDTH, lag=inf) as server, faces("sync", server.url, encoder=mini) as index:
        index.upsert_records(records=records(), namespace=DEFAULT)
        assert index.search(inputs={"text": QUESTION}, top_k=1, namespace=DEFAULT).result.hits == []
        assert len(server.stored()) == 4  # all the emulator's pending writes are visible now
        assert len(index.search(inputs={"text": QUESTION}, top_k=1, namespace=DEFAULT).result.hits) == 1


def test_the_loop_is_free_while_a_thread_embeds(server: PineconeServer, mini: Encoder) -> None:
    with faces("async", server.url, encoder=mini) as face:
        face.run(while_loop_is_free(mini, face.wrapped.upsert_records(records=records(), namespace=DEFAULT)))
        assert len(server.stored()) == 4
