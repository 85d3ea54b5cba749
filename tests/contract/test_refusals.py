"""What every store refuses: documents that it cannot use, and collections of other settings, models and metrics."""

from typing import Any

import pytest

from support.contract import DOCUMENTS, assert_accounted, counts, vectors_of
from support.database import Database
from taskvec import Encoder
from taskvec_integrations.store import Document


def test_bad_documents_are_named_and_the_rest_lands(database: Database, mini: Encoder) -> None:
    bad = [
        Document("empty", ""),
        Document("chunk", chunks=["a", ""]),
        Document("span", "abc", spans=[(0, 9)]),
        Document("payload", "abc", payload={"when": object()}),
        Document("reserved", "abc", payload={"text": "mine"}),
        17,
        Document("both", "a", chunks=["a"]),
    ]
    report = database.ingest(database.store(encoder=mini), [bad[0], DOCUMENTS[0], *bad[1:], DOCUMENTS[2]])
    assert (report.documents.read, report.documents.written, report.documents.failed) == (9, 2, 7)
    assert_accounted(report)
    reasons = {failure.document_id: failure.reason for failure in report.failed}
    assert reasons == {
        "empty": "its text is empty or blank",
        "chunk": "chunk 1 is empty: leave it out, because an empty chunk has no vector",
        "span": "in its text, span 0 is (0, 9): it needs 0 <= start < stop <= 3, the text's length",
        "payload": "its payload is not JSON: 'when': Object of type object is not JSON serializable",
        "reserved": "its payload has the key 'text', which is used for the store's own: rename it",
        "document 6 of the input": "it is of type int: a Document, a str or a pair (id, text) was expected",
        "both": "it has both text and chunks: give its text, its text with spans, or its chunks",
    }
    assert vectors_of(database).keys() == {("curie", 0), ("curie", 1), ("curie", 2), ("3", 0)}


@pytest.mark.parametrize(
    ("first", "then", "said"),
    [
        ({"dimensions": 64}, {"dimensions": 128}, "has dimensions 64; this store has dimensions 128"),
        ({}, {"document_task": "separation"}, "document_task retrieval.passage; this store has document_task separation"),
        (
            {},
            {"document_task": None, "dimensions": 5},
            "has dimensions 384, document_task retrieval.passage; this store has dimens",
        ),
        ({}, {"late_chunking": True}, "has late_chunking False; this store has late_chunking True"),
    ],
    ids=["dimensions", "task", "two", "late"],
)
def test_other_settings_are_refused(
    database: Database, mini: Encoder, first: dict[str, Any], then: dict[str, Any], said: str
) -> None:
    database.ingest(database.store(encoder=mini, **first), DOCUMENTS)
    with pytest.raises(ValueError, match=r"collection '\S*docs' has .*use the settings of the collection") as caught:
        database.ingest(database.store(encoder=mini, **then), ["new"])
    assert said in str(caught.value)
    assert len(database.points()) == 7
    searching = database.store(encoder=mini, **then)
    if "late_chunking" in then:  # its vectors can be compared with those that are there
        assert database.search(searching, "Berlin")
    else:
        with pytest.raises(ValueError, match="this store has"):
            database.search(searching, "Berlin")


def test_another_model_is_refused_by_name(database: Database, mini: Encoder, encoder: Encoder) -> None:
    database.ingest(database.store(encoder=mini, dimensions=64), DOCUMENTS)
    with pytest.raises(ValueError, match=r"has model \S+; this store has model sha256:\w+/mean") as caught:
        database.ingest(database.store(encoder=encoder, dimensions=64), DOCUMENTS)
    assert mini.fingerprint in str(caught.value)
    assert encoder.fingerprint in str(caught.value)


def test_an_empty_collection_of_the_user_is_taken_where_it_fits(database: Database, mini: Encoder) -> None:
    database.make(64)
    with pytest.raises(ValueError, match="has dimensions 64; this store has dimensions 384"):
        database.ingest(database.store(encoder=mini), DOCUMENTS)
    assert database.ingest(database.store(encoder=mini, dimensions=64), DOCUMENTS).chunks.written == 7
    with pytest.raises(ValueError, match="document_task"):
        database.ingest(database.store(encoder=mini, dimensions=64, document_task=None), DOCUMENTS)


def test_another_metric_is_refused(database: Database, mini: Encoder) -> None:
    database.make(384, "dot")
    with pytest.raises(ValueError, match="has metric dot; this store has metric cosine"):
        database.ingest(database.store(encoder=mini), DOCUMENTS)


def test_points_of_unknown_origin_are_not_added_to(database: Database, mini: Encoder) -> None:
    database.make(384)
    database.add_foreign_point(384)
    store = database.store(encoder=mini)
    with pytest.raises(ValueError, match=r"collection '\S*docs' has points and no record of the model"):
        database.ingest(store, DOCUMENTS)
    with pytest.raises(ValueError, match="has no record of its model"):
        database.search(store, "Berlin")


def test_searching_nothing_says_so(database: Database, mini: Encoder) -> None:
    said = "there is no collection 'docs': ingest into it first" if database.makes_collections else "no record of its model"
    with pytest.raises(LookupError if database.makes_collections else ValueError, match=said):
        database.search(database.store(encoder=mini), "Berlin")


def test_an_empty_input_makes_the_collection(database: Database, mini: Encoder) -> None:
    store = database.store(encoder=mini)
    assert counts(database.ingest(store, [])) == (0, 0, 0, 0, 0, 0)
    assert database.search(store, "Berlin") == []
