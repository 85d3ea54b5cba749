"""Documents of a document index: vectors made of their texts, and searches by text, through the SDK's own classes."""

import logging
from typing import Any

import numpy as np
import pytest

from support.pinecone.emulator import PineconeServer
from support.pinecone.indexes import IDS, QUESTION, TEXTS, Face, faces, records
from taskvec import Encoder


def stored(server: PineconeServer) -> Any:
    """The vectors of the documents, in order."""
    held = server.stored("ns")
    return np.array([held[id].fields["embedding"] for id in IDS])


def sent_vector(server: PineconeServer) -> Any:
    [clause] = server.sent("documents/search")[-1].body["score_by"]
    return np.asarray(clause["values"], np.float32)


@pytest.mark.parametrize(("method", "options"), [("upsert", {}), ("batch_upsert", {"batch_size": 3, "show_progress": False})])
def test_vectors_stored_are_those_of_encode_documents(
    documents: Face, document_server: PineconeServer, mini: Encoder, method: str, options: dict[str, Any]
) -> None:
    given = records()
    getattr(documents, method)(namespace="ns", documents=given, **options)
    np.testing.assert_array_equal(stored(document_server), mini.encode_documents(TEXTS))
    assert given == records()
    fields = document_server.stored("ns")["nobel"].fields
    assert (fields["text"], fields["place"]) == (TEXTS[1], 1)


def clauses() -> list[Any]:
    from pinecone import EmbedQuery

    return [
        EmbedQuery(field="embedding", query=QUESTION),
        EmbedQuery(fields=["text"], query=QUESTION),
        {"type": "embed", "field": "text", "query": QUESTION},
    ]


@pytest.mark.parametrize("place", range(3), ids=["vector field", "text field", "dict"])
def test_vectors_sent_are_those_of_encode_queries(
    documents: Face, document_server: PineconeServer, mini: Encoder, place: int
) -> None:
    documents.upsert(namespace="ns", documents=records())
    found = documents.search(namespace="ns", score_by=[clauses()[place]], top_k=2, include_fields=["text"])
    np.testing.assert_array_equal(sent_vector(document_server), mini.encode_queries(QUESTION))
    best = np.argsort(-(mini.encode_documents(TEXTS) @ mini.encode_queries(QUESTION)))[:2]
    assert [(match.id, match.text) for match in found.matches] == [(IDS[at], TEXTS[at]) for at in best]


def test_vectors_of_ones_own_pass(documents: Face, document_server: PineconeServer, mini: Encoder) -> None:
    from pinecone import DenseVectorQuery
    from pinecone.models.documents.document import DocumentRecord

    own = mini.encode("something else")
    documents.upsert(namespace="ns", documents=[DocumentRecord(_id="own", text="a text", embedding=own.tolist())])
    np.testing.assert_array_equal(document_server.stored("ns")["own"].fields["embedding"], own)
    documents.search(namespace="ns", score_by=[DenseVectorQuery(field="embedding", values=own.tolist())], top_k=1)
    np.testing.assert_array_equal(sent_vector(document_server), own)


def test_a_changed_text_changes_its_vector(documents: Face, document_server: PineconeServer, mini: Encoder) -> None:
    documents.upsert(namespace="ns", documents=records())
    documents.update(namespace="ns", documents=[{"_id": "yeast", "text": "Bread."}, {"_id": "spree", "place": 7}])
    np.testing.assert_array_equal(stored(document_server)[2], mini.encode_documents("Bread."))
    np.testing.assert_array_equal(stored(document_server)[3], mini.encode_documents(TEXTS[3]))
    with pytest.raises(
        ValueError, match=r"set_fields changes the text 'text' but not its vector: use update\(documents=\.\.\.\)"
    ):
        documents.update(namespace="ns", filter={"place": 1}, set_fields={"text": "Bread."})


def test_the_rest_of_documents_is_reached(documents: Face, document_server: PineconeServer) -> None:
    documents.upsert(namespace="ns", documents=records())
    assert [*documents.fetch(namespace="ns", ids=["curie"]).documents] == ["curie"]
    documents.delete(namespace="ns", ids=["curie"])
    assert "curie" not in document_server.stored("ns")


def test_without_text_and_vector_a_document_would_never_be_found(documents: Face) -> None:
    with pytest.raises(ValueError, match="document 'a' has neither 'text' nor 'embedding': give it a text, or its vector"):
        documents.upsert(namespace="ns", documents=[{"_id": "a", "place": 1}])


def test_other_texts_than_ours_are_pinecones_affair(documents: Face) -> None:
    from pinecone import EmbedQuery

    with pytest.raises(Exception, match="not by embed"):
        documents.search(namespace="ns", score_by=[EmbedQuery(field="another", query="a")], top_k=1)


def test_two_vectors_of_one_text_have_to_be_told_apart(document_server: PineconeServer, mini: Encoder) -> None:
    two = {"small": "text", "large": "text"}
    clause = {"type": "embed", "field": "text", "query": "a"}
    message = "the vector fields small, large are all made from 'text': search one of those by name"
    with faces("sync", document_server.url, encoder=mini, vector_fields=two) as face, pytest.raises(ValueError, match=message):
        face.documents.search(namespace="ns", score_by=[clause], top_k=1)


def test_what_a_batch_lost_is_in_the_result_and_logged(
    documents: Face, document_server: PineconeServer, caplog: pytest.LogCaptureFixture
) -> None:
    document_server.fail(400, "documents/upsert", times=1)
    with caplog.at_level(logging.WARNING, "taskvec"):
        result = documents.batch_upsert(namespace="ns", documents=records(), batch_size=2, max_concurrency=1, show_progress=False)
    assert result.failed_item_count == 2
    assert len(document_server.stored("ns")) == 2
    assert "2 of 4 documents are not written" in caplog.text


def test_chunks_of_a_document_share_its_context(document_server: PineconeServer, mini: Encoder) -> None:
    options = {"encoder": mini, "vector_fields": {"embedding": "text"}, "document_field": "source"}
    with faces("sync", document_server.url, **options) as face:
        face.documents.upsert(namespace="ns", documents=records(source="a"))
    np.testing.assert_array_equal(stored(document_server), mini.encode_documents(TEXTS, late_chunking=True))


def test_without_vector_fields_documents_are_the_sdks_own(document_server: PineconeServer, mini: Encoder) -> None:
    from pinecone.client.documents import Documents

    with faces("sync", document_server.url, encoder=mini) as face:
        assert isinstance(face.wrapped.documents, Documents)
