"""What cannot be embedded fails with words that help, before anything is written."""

from typing import Any

import pytest
from qdrant_client import models

from support.qdrant.points import COLLECTION, JINA, create, document, points, vector_params
from taskvec_integrations.qdrant import TaskvecQdrantClient

Client = TaskvecQdrantClient


WRONG_OPTIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    (
        {"dims": 3},
        ValueError,
        "unknown option 'dims': the options are task, dimensions, late_chunking, document_id, spans, chunk_tok",
    ),
    ({"task": "passage"}, ValueError, "unknown task 'passage': use one of retrieval.query, retrieval.passage"),
    ({"dimensions": 385}, ValueError, "dimensions is 385, mini has vectors of 384: use 1 to 384"),
    ({"dimensions": 0}, ValueError, "dimensions is 0, mini has vectors of 384: use 1 to 384"),
    ({"dimensions": "64"}, TypeError, "dimensions is '64': a whole number was expected"),
    ({"dimensions": True}, TypeError, "dimensions is True: a whole number was expected"),
    ({"late_chunking": "no"}, TypeError, "late_chunking is 'no': True or False was expected"),
    ({"document_id": 1.5}, TypeError, "document_id is 1.5: a str or a whole number was expected"),
    ({"spans": "0-3"}, TypeError, "spans is '0-3': a list of (start, stop) was expected"),
    ({"spans": [(0, 900)]}, ValueError, "span 0 is (0, 900): it needs 0 <= start < stop <= 60"),
    ({"spans": []}, ValueError, "has no chunk"),
    ({"chunk_tokens": 0}, ValueError, "chunk_tokens is 0: use at least 8"),
    ({"chunk_tokens": 50, "spans": [(0, 3)]}, ValueError, "spans and chunk_tokens both say where the chunks are"),
    ({"chunk_tokens": 50, "document_id": 1}, ValueError, "while spans and chunk_tokens cut one text: pass one of the two"),
    ({"chunk_tokens": 50, "late_chunking": False}, ValueError, "which late_chunking=False rules out"),
]


@pytest.mark.parametrize(("options", "error", "message"), WRONG_OPTIONS, ids=[str(options) for options, _, _ in WRONG_OPTIONS])
def test_a_wrong_option_fails_before_anything_is_written(
    options: dict[str, Any], error: type[Exception], message: str, client: Client
) -> None:
    create(client)
    text = "A text that is long enough to be cut in an error message ..."
    with pytest.raises(error) as caught:
        client.upsert(COLLECTION, [*points(["right"]), models.PointStruct(id=1, vector=document(text, **options))])
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"Document('A text that is long enough to be cut in …', model='{JINA}')")
    assert client.count(COLLECTION).count == 0


def test_other_mistakes(client: Client) -> None:
    create(client)

    def upsert(*vectors: Any) -> None:
        client.upsert(COLLECTION, [models.PointStruct(id=i, vector=vector) for i, vector in enumerate(vectors)])

    with pytest.raises(TypeError, match=r"InferenceObject\('3', model='mini'\) holds int: mini embeds text"):
        upsert(models.InferenceObject(object=3, model="mini"))
    with pytest.raises(TypeError, match=r"Image\('a.png', model='mini'\) holds an image: mini embeds text"):
        upsert(models.Image(image="a.png", model="mini"))
    with pytest.raises(ValueError, match="is an empty chunk, which has no vector of its own: leave it out"):
        upsert(document("a", document_id=1), document("", document_id=1))
    with pytest.raises(ValueError, match=r"other texts stand between the chunks of document 'x'. .* one after another"):
        upsert(document("a", document_id="x"), document("b", document_id="y"), document("c", document_id="x"))
    with pytest.raises(ValueError, match="document_id joins chunks that are stored, and a query has none"):
        client.query_points(COLLECTION, document("a", document_id=1))
    with pytest.raises(TypeError, match="missing a required argument: 'points'"):
        client.upsert(COLLECTION)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="ids has 1 items for 2 vectors: pass one for each vector"):
        client.upload_collection(COLLECTION, [document("a"), document("b")], ids=[1])
    assert client.count(COLLECTION).count == 0


@pytest.mark.parametrize("arguments", [{"encoder": 3}, {"document_task": "passage"}, {"query_task": 3}])
def test_a_client_is_not_made_with_what_cannot_work(arguments: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=r"encoder is 3|unknown task"):
        TaskvecQdrantClient(":memory:", **arguments)


def test_uint8_is_refused_with_the_reason_and_the_way_out(client: Client) -> None:
    uint8 = models.VectorParams(size=4, distance=models.Distance.COSINE, datatype=models.Datatype.UINT8)
    as_dict = {"size": 4, "distance": "Cosine", "datatype": "uint8"}
    configs: list[Any] = [uint8, {"good": vector_params(), "bad": uint8}, as_dict, {"good": vector_params(), "bad": as_dict}]
    for vectors in configs:
        with pytest.raises(ValueError, match=r"datatype uint8, which rounds down to whole numbers.* Use datatype float16"):
            client.create_collection(COLLECTION, vectors)
    assert not client.collection_exists(COLLECTION)
