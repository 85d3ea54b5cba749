"""What Documents may ask for, what is left alone, what is encoded only once, and what fails with which words."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from qdrant_client import models

from support.qdrant.points import COLLECTION, JINA, QUESTION, TEXTS, WIDTH, assert_equal, create, document, points, stored
from taskvec import Encoder, Task
from taskvec_integrations.ingestion.chunking import split
from taskvec_integrations.qdrant import TaskvecQdrantClient
from taskvec_integrations.qdrant.embed import Resolver

Client = TaskvecQdrantClient


def params(size: int = WIDTH, *, multi: bool = False) -> models.VectorParams:
    maxsim = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM) if multi else None
    return models.VectorParams(size=size, distance=models.Distance.COSINE, multivector_config=maxsim)


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


# Names


@pytest.mark.parametrize("name", [JINA, f"{JINA}-hf", "jina-embeddings-v3", "JinaAI/Jina-Embeddings-v3", "mini"])
def test_names_that_the_client_answers_to(name: str, client: Client, mini: Encoder) -> None:
    create(client)
    client.upsert(COLLECTION, [models.PointStruct(id=0, vector=models.Document(text="a", model=name))])
    assert_equal(stored(client, 1)[0], mini.encode_documents("a"))


def test_an_encoder_answers_to_its_own_name_and_mini_stays_mini(encoder: Encoder) -> None:
    """`encoder` is a folder with random weights, 64 wide."""
    client = TaskvecQdrantClient(":memory:", encoder=encoder)
    create(client, own=params(encoder.dimensions), mini=params())
    vector = {"own": models.Document(text="a", model=encoder.model_id), "mini": models.Document(text="a", model="mini")}
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


# Left alone


def test_payloads_are_never_looked_into(client: Client) -> None:
    create(client)
    payload = {"document": document("in the payload"), "nested": [{"document": document("deeper")}]}
    (point,) = points(["a"])
    seen = client._resolver.resolve([point.model_copy(update={"payload": payload})], "document")
    assert seen[0].payload is payload
    batch = models.Batch(ids=[0], vectors=[document("a")], payloads=[payload])
    assert client._resolver.resolve(batch, "document").payloads is batch.payloads
    operation = models.SetPayloadOperation(set_payload=models.SetPayload(payload=payload, points=[0]))
    assert client._resolver.resolve([operation], "document")[0] is operation


def test_documents_of_other_models_pass_through_untouched(client: Client) -> None:
    other = models.Document(text="a", model="Qdrant/bm25", options={"language": "english"})
    point = models.PointStruct(id=0, vector={"words": other, "dense": document("a")})
    (resolved,) = client._resolver.resolve([point], "document")
    assert resolved.vector["words"] is other
    assert len(resolved.vector["dense"]) == WIDTH


def test_nothing_is_changed_in_place_and_what_needs_no_change_is_the_same_object(client: Client) -> None:
    plain = models.PointStruct(id=1, vector=[0.0] * WIDTH)
    given = [*points(["a"]), plain]
    before = [point.model_copy(deep=True) for point in given]
    resolved = client._resolver.resolve(given, "document")
    assert given == before
    assert resolved is not given
    assert resolved[1] is plain
    assert client._resolver.resolve([plain], "document")[0] is plain
    query = models.Prefetch(prefetch=[models.Prefetch(query=document("a"))], query=document("b"))
    copy = query.model_copy(deep=True)
    client._resolver.resolve(query, "query")
    assert query == copy


# What queries hold


def kinds_of_query(vector: Any) -> Iterator[Any]:
    """Arguments of `query_points` around a Document or the vector it stands for."""
    yield {"query": models.NearestQuery(nearest=vector)}
    for strategy in ("average_vector", "best_score"):
        recommend = models.RecommendInput(positive=[0, vector, [1.0] + [0.0] * (WIDTH - 1)], negative=[vector], strategy=strategy)
        yield {"query": models.RecommendQuery(recommend=recommend)}
    pair = models.ContextPair(positive=vector, negative=3)
    yield {"query": models.DiscoverQuery(discover=models.DiscoverInput(target=vector, context=[pair]))}
    yield {"query": models.DiscoverQuery(discover=models.DiscoverInput(target=2, context=pair))}
    yield {"query": models.ContextQuery(context=[models.ContextPair(positive=1, negative=vector)])}
    prefetch = models.Prefetch(query=models.RecommendQuery(recommend=models.RecommendInput(positive=[vector])), limit=3)
    yield {"query": models.FusionQuery(fusion=models.Fusion.RRF), "prefetch": [prefetch, models.Prefetch(query=vector, limit=2)]}
    yield {"query": vector, "prefetch": models.Prefetch(prefetch=[prefetch], query=vector, limit=3)}


def test_documents_in_every_kind_of_query_are_resolved_as_queries(client: Client, mini: Encoder) -> None:
    create(client)
    client.upsert(COLLECTION, points())
    vector = mini.encode_queries(QUESTION).tolist()
    pairs = zip(kinds_of_query(document(QUESTION)), kinds_of_query(vector), strict=True)
    for number, (with_document, with_vector) in enumerate(pairs):
        found, expected = (client.query_points(COLLECTION, **kind).points for kind in (with_document, with_vector))
        assert [hit.id for hit in found] == [hit.id for hit in expected], number
        assert_equal([hit.score for hit in found], [hit.score for hit in expected])
        assert found, number


# Options


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
    create(client, full=params(), small=params(64), tiny=params(7))
    sizes = {"full": {}, "small": {"dimensions": 64}, "tiny": {"dimensions": 7}}
    texts = [*TEXTS, TEXTS[0]]
    vectors = [{name: document(text, **options) for name, options in sizes.items()} for text in texts]
    client.upsert(COLLECTION, [models.PointStruct(id=i, vector=vector) for i, vector in enumerate(vectors)])
    assert encoded == TEXTS
    for name, options in sizes.items():
        assert_equal(stored(client, 5, name), mini.encode_documents(texts, **options))


def test_late_chunks_are_encoded_once_for_several_vectors(client: Client, mini: Encoder, encoded: list[Any]) -> None:
    create(client, full=params(), small=params(64))
    vectors = [
        {"full": document(text, document_id="a"), "small": document(text, document_id="a", dimensions=64)} for text in TEXTS
    ]
    client.upsert(COLLECTION, [models.PointStruct(id=i, vector=vector) for i, vector in enumerate(vectors)])
    assert encoded == [TEXTS]
    assert_equal(stored(client, name="full"), mini.encode_documents(TEXTS, late_chunking=True))
    assert_equal(stored(client, name="small"), mini.encode_documents(TEXTS, late_chunking=True, dimensions=64))


def test_query_and_prefetch_share_what_is_encoded(client: Client, encoded: list[Any]) -> None:
    create(client, full=params(), small=params(64))
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
    given = points(document_id="a")
    operations = [models.UpsertOperation(upsert=models.PointsList(points=part)) for part in (given[:1], given[1:])]
    client.batch_update_points(COLLECTION, operations)
    assert_equal(stored(client), mini.encode_documents(TEXTS, late_chunking=True))


def test_late_chunking_changes_nothing_in_a_query(client: Client, mini: Encoder) -> None:
    requests = [models.QueryRequest(query=document(text, late_chunking=True)) for text in TEXTS]
    resolved = client._resolver.resolve(requests, "query")
    assert_equal([request.query for request in resolved], mini.encode_queries(TEXTS))


@pytest.mark.parametrize("options", [{"chunk_tokens": 12}, {"chunk_tokens": 1000}, {"spans": [(0, 39), (60, 94)]}])
def test_rows_of_a_multivector_are_the_late_chunks_of_its_text(options: dict[str, Any], client: Client, mini: Encoder) -> None:
    create(client, chunks=params(100, multi=True))
    text = " ".join(TEXTS)
    client.upsert(COLLECTION, [models.PointStruct(id=0, vector={"chunks": document(text, dimensions=100, **options)})])
    rows = stored(client, 1, "chunks")[0]
    if "spans" in options:
        assert_equal(rows, mini.encode_spans([text], [options["spans"]], dimensions=100)[0])
    else:
        assert len(rows) == {12: 6, 1000: 1}[options["chunk_tokens"]]


@pytest.mark.parametrize("options", [{}, {"document_id": "a"}], ids=["alone", "joined"])
def test_a_text_that_is_cut_is_warned_of(client: Client, caplog: pytest.LogCaptureFixture, options: dict[str, Any]) -> None:
    create(client)
    client.upsert(COLLECTION, points([TEXTS[0], "word " * 9000], **options))
    said = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert said == (
        [] if options else ["1 texts were cut at 8192 tokens, the context of mini"]
    )  # joined ones are read in windows


def test_chunks_have_at_most_the_tokens_asked_for(mini: Encoder) -> None:
    text = "\n\n".join(" ".join(TEXTS) for _ in range(5))
    (spans,) = split([text], mini, 20)
    assert max(mini.count_tokens([text[start:stop] for start, stop in spans])) <= 20  # <s> and </s> included
    covered = "".join(text[start:stop] for start, stop in spans)
    assert covered.replace(" ", "").replace("\n", "") == text.replace(" ", "").replace("\n", "")


# Mistakes

MISTAKES: list[tuple[dict[str, Any], type[Exception], str]] = [
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
    ({"chunk_tokens": 50, "document_id": 1}, ValueError, "spans and chunk_tokens cut one text: give one of them"),
    ({"chunk_tokens": 50, "late_chunking": False}, ValueError, "which late_chunking=False rules out"),
]


@pytest.mark.parametrize(("options", "kind", "words"), MISTAKES, ids=[str(options) for options, _, _ in MISTAKES])
def test_a_wrong_option_fails_before_anything_is_written(
    options: dict[str, Any], kind: type[Exception], words: str, client: Client
) -> None:
    create(client)
    text = "A text that is long enough to be cut in an error message ..."
    with pytest.raises(kind) as caught:
        client.upsert(COLLECTION, [*points(["right"]), models.PointStruct(id=1, vector=document(text, **options))])
    assert words in str(caught.value)
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
    with pytest.raises(ValueError, match=r"other texts stand between the chunks of document 'x', .* one after another"):
        upsert(document("a", document_id="x"), document("b", document_id="y"), document("c", document_id="x"))
    with pytest.raises(ValueError, match="document_id joins chunks that are stored, a query has none"):
        client.query_points(COLLECTION, document("a", document_id=1))
    with pytest.raises(TypeError, match="missing a required argument: 'points'"):
        client.upsert(COLLECTION)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="ids has 1 items for 2 vectors: give one for each"):
        client.upload_collection(COLLECTION, [document("a"), document("b")], ids=[1])
    assert client.count(COLLECTION).count == 0


@pytest.mark.parametrize("arguments", [{"encoder": 3}, {"document_task": "passage"}, {"query_task": 3}])
def test_a_client_is_not_made_with_what_cannot_work(arguments: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=r"encoder is 3|unknown task"):
        TaskvecQdrantClient(":memory:", **arguments)


def test_uint8_is_refused_with_the_reason_and_the_way_out(client: Client) -> None:
    uint8 = models.VectorParams(size=4, distance=models.Distance.COSINE, datatype=models.Datatype.UINT8)
    as_dict = {"size": 4, "distance": "Cosine", "datatype": "uint8"}
    for vectors in (uint8, {"good": params(), "bad": uint8}, as_dict, {"good": params(), "bad": as_dict}):
        with pytest.raises(ValueError, match=r"datatype uint8, which cuts numbers to whole ones.* Use datatype float16"):
            client.create_collection(COLLECTION, vectors)
    assert not client.collection_exists(COLLECTION)


def test_closing_lets_go_of_what_was_loaded_by_name_only(mini: Encoder) -> None:
    client = TaskvecQdrantClient(":memory:", encoder="mini")
    create(client)
    client.upsert(COLLECTION, points())
    loaded = client._resolver._models["mini"].get()
    client.close()
    with pytest.raises(RuntimeError, match="is closed"):
        loaded.encode("a")
    other = TaskvecQdrantClient(":memory:", encoder=mini)
    other.close()
    assert mini.encode("a").shape == (WIDTH,)


def test_a_resolver_leaves_what_it_does_not_know_alone() -> None:
    resolver = Resolver("mini", "auto", "auto")
    for value in (None, 3, "text", [1.0, 2.0], np.ones(3), {"a": object()}, b"bytes", [[1.0], [2.0]], [*np.ones(3)], ()):
        assert resolver.resolve(value, "document") is value
