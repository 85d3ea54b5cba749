"""What Documents may ask for: tasks, dimensions, late chunking and multivectors; each text is encoded once."""

from typing import Any

import numpy as np
import pytest
from qdrant_client import models

from support.qdrant.points import COLLECTION, QUESTION, TEXTS, assert_equal, create, document, points, stored, vector_params
from taskvec import Encoder, Task
from taskvec_integrations.ingestion.chunking import split
from taskvec_integrations.qdrant import TaskvecQdrantClient

Client = TaskvecQdrantClient


@pytest.fixture
def encoded(mini: Encoder, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every text and every document (a list of chunks) that the encoder is given, in order."""
    seen: list[Any] = []
    for name in ("encode", "encode_chunks", "encode_spans"):
        right = getattr(mini, name)

        def note(given: Any, *args: Any, right: Any = right, **options: Any) -> Any:
            seen.extend(given)
            return right(given, *args, **options)

        monkeypatch.setattr(mini, name, note)
    return seen


def test_tasks_of_a_client_and_of_a_document(mini: Encoder) -> None:
    client = TaskvecQdrantClient(":memory:", encoder=mini, document_task="text-matching", query_task=None)
    create(client)
    client.upsert(COLLECTION, [*points(TEXTS[:2]), models.PointStruct(id=2, vector=document(TEXTS[2], task=None))])
    client.upsert(COLLECTION, [models.PointStruct(id=3, vector=document(TEXTS[3], task="auto"))])
    matching, bare = mini.encode(TEXTS, task=Task.TEXT_MATCHING), mini.encode(TEXTS, task=None)
    assert_equal(stored(client), np.stack([matching[0], matching[1], bare[2], matching[3]]))
    (hit,) = client.query_points(COLLECTION, document(TEXTS[2]), limit=1).points
    assert_equal(hit.score, 1.0)
    (hit,) = client.query_points(COLLECTION, document(TEXTS[3], task=Task.TEXT_MATCHING), limit=1).points
    assert_equal(hit.score, 1.0)
    client.close()


def test_a_text_is_encoded_once_for_vectors_of_other_dimensions(client: Client, mini: Encoder, encoded: list[Any]) -> None:
    create(client, named={"full": vector_params(), "small": vector_params(64), "tiny": vector_params(7)})
    sizes: dict[str, dict[str, Any]] = {"full": {}, "small": {"dimensions": 64}, "tiny": {"dimensions": 7}}
    texts = [*TEXTS, TEXTS[0]]
    vectors: list[Any] = [{name: document(text, **options) for name, options in sizes.items()} for text in texts]
    client.upsert(COLLECTION, [models.PointStruct(id=i, vector=vector) for i, vector in enumerate(vectors)])
    assert encoded == TEXTS
    for name, options in sizes.items():
        assert_equal(stored(client, 5, name), mini.encode_documents(texts, **options))


def test_late_chunks_are_encoded_once_for_several_vectors(client: Client, mini: Encoder, encoded: list[Any]) -> None:
    create(client, named={"full": vector_params(), "small": vector_params(64)})
    vectors: list[Any] = [
        {"full": document(text, document_id="a"), "small": document(text, document_id="a", dimensions=64)} for text in TEXTS
    ]
    client.upsert(COLLECTION, [models.PointStruct(id=i, vector=vector) for i, vector in enumerate(vectors)])
    assert encoded == [TEXTS]
    assert_equal(stored(client, name="full"), mini.encode_documents(TEXTS, late_chunking=True))
    assert_equal(stored(client, name="small"), mini.encode_documents(TEXTS, late_chunking=True, dimensions=64))


def test_query_and_prefetch_share_what_is_encoded(client: Client, encoded: list[Any]) -> None:
    create(client, named={"full": vector_params(), "small": vector_params(64)})
    prefetch = models.Prefetch(query=document(QUESTION, dimensions=64), using="small", limit=3)
    client.query_points(COLLECTION, document(QUESTION), using="full", prefetch=prefetch)
    assert encoded == [QUESTION]


def test_chunks_of_a_document_share_context_and_other_points_do_not(client: Client, mini: Encoder) -> None:
    create(client)
    options: list[dict[str, Any]] = [{"document_id": 7}, {"document_id": 7}, {}, {"document_id": 7, "late_chunking": False}]
    client.upsert(COLLECTION, [models.PointStruct(id=i, vector=document(TEXTS[i], **options[i])) for i in range(4)])
    late, alone = mini.encode_documents(TEXTS[:2], late_chunking=True), mini.encode_documents(TEXTS)
    assert_equal(stored(client), np.concatenate((late, alone[2:])))
    assert np.abs(late - alone[:2]).max() > 0.01


def test_late_chunking_without_an_id_makes_a_call_one_document(client: Client, mini: Encoder) -> None:
    create(client)
    late = mini.encode_documents(TEXTS, late_chunking=True)
    client.upsert(COLLECTION, points(late_chunking=True))
    assert_equal(stored(client), late)
    client.upsert(COLLECTION, models.Batch(ids=[0, 1, 2, 3], vectors=[document(text, late_chunking=True) for text in TEXTS]))
    assert_equal(stored(client), late)
    client.upload_points(COLLECTION, points(late_chunking=True))
    assert_equal(stored(client), late)


def test_operations_of_a_batch_may_continue_a_document(client: Client, mini: Encoder) -> None:
    create(client)
    chunks = points(document_id="a")
    operations = [models.UpsertOperation(upsert=models.PointsList(points=part)) for part in (chunks[:1], chunks[1:])]
    client.batch_update_points(COLLECTION, operations)
    assert_equal(stored(client), mini.encode_documents(TEXTS, late_chunking=True))


def test_late_chunking_changes_nothing_in_a_query(client: Client, mini: Encoder) -> None:
    requests = [models.QueryRequest(query=document(text, late_chunking=True)) for text in TEXTS]
    embedded = client._embedder.embed(requests, "query")
    assert_equal([request.query for request in embedded], mini.encode_queries(TEXTS))


@pytest.mark.parametrize("options", [{"chunk_tokens": 12}, {"chunk_tokens": 1000}, {"spans": [(0, 39), (60, 94)]}])
def test_rows_of_a_multivector_are_the_late_chunks_of_its_text(options: dict[str, Any], client: Client, mini: Encoder) -> None:
    create(client, named={"chunks": vector_params(100, multi=True)})
    text = " ".join(TEXTS)
    client.upsert(COLLECTION, [models.PointStruct(id=0, vector={"chunks": document(text, dimensions=100, **options)})])
    rows = stored(client, 1, "chunks")[0]
    if "spans" in options:
        assert_equal(rows, mini.encode_spans([text], [options["spans"]], dimensions=100)[0])
    else:
        assert len(rows) == {12: 6, 1000: 1}[options["chunk_tokens"]]


@pytest.mark.parametrize("options", [{}, {"document_id": "a"}], ids=["text", "chunk"])
def test_a_text_that_is_cut_is_warned_of(short: Encoder, caplog: pytest.LogCaptureFixture, options: dict[str, Any]) -> None:
    client = TaskvecQdrantClient(":memory:", encoder=short)
    create(client, short.dimensions)
    client.upsert(COLLECTION, points(["word", "word " * 90], **options))
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    cut = f"1 texts were cut at 64 tokens, the context of {short.model_id}"
    assert warnings == ([] if options else [cut])  # the chunks of a document are read in windows
    client.close()


def test_chunks_have_at_most_the_tokens_asked_for(mini: Encoder) -> None:
    text = "\n\n".join(" ".join(TEXTS) for _ in range(5))
    (spans,) = split([text], mini, 20)
    assert max(mini.count_tokens([text[start:stop] for start, stop in spans])) <= 20  # <s> and </s> included
    covered = "".join(text[start:stop] for start, stop in spans)
    assert covered.replace(" ", "").replace("\n", "") == text.replace(" ", "").replace("\n", "")
