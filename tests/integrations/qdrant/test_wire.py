"""What goes over the wire to a server, by REST and by gRPC; uploads that stay lazy, overlap and use several processes."""

import threading
from collections.abc import Iterable, Iterator
from concurrent import futures
from typing import Any

import grpc
import numpy as np
import pytest
from qdrant_client import grpc as messages
from qdrant_client import models
from qdrant_client.grpc import PointsServicer, add_PointsServicer_to_server

from support.qdrant import edge_server
from support.qdrant.edge_server import EdgeCollection, EdgeServer
from support.qdrant.points import COLLECTION, QUESTION, TEXTS, WIDTH, assert_equal, create, document, points, stored
from taskvec import Encoder
from taskvec_integrations.qdrant import TaskvecQdrantClient, embed, encode_requests

Client = TaskvecQdrantClient
OTHER = models.Document(text="words", model="someone/else", options={"anything": 1})


def bodies(server: EdgeServer, path: str) -> list[Any]:
    """The bodies that were sent to a path, in the order they came."""
    return [body for _, sent_to, body in server.requests if sent_to.partition("?")[0].endswith(path)]


def test_bodies_hold_vectors_and_no_document_of_ours(remote: Client, server: EdgeServer, mini: Encoder) -> None:
    create(remote)
    remote.upsert(COLLECTION, points())
    recommend = models.RecommendInput(positive=[0, document(QUESTION)], negative=[document(TEXTS[2])])
    with pytest.raises(Exception, match="400"):  # the test server cannot recommend, but it was asked
        remote.query_points(COLLECTION, models.RecommendQuery(recommend=recommend))
    (written,) = bodies(server, "/points")
    assert_equal([point["vector"] for point in written["points"]], mini.encode_documents(TEXTS))
    sent = bodies(server, "/query")[0]["query"]["recommend"]
    assert sent["positive"][0] == 0
    assert_equal([sent["positive"][1], sent["negative"][0]], mini.encode_queries([QUESTION, TEXTS[2]]))


def test_cloud_inference_gets_the_documents_of_other_models_only(server: EdgeServer, mini: Encoder) -> None:
    client = TaskvecQdrantClient(url=server.url, encoder=mini, cloud_inference=True, timeout=120)
    create(client)
    with pytest.raises(Exception, match="400"):
        client.upsert(COLLECTION, [models.PointStruct(id=0, vector={"ours": document("a"), "theirs": OTHER})])
    sent = bodies(server, "/points")[0]["points"][0]["vector"]
    assert sent["theirs"] == OTHER.model_dump()
    assert_equal(sent["ours"], mini.encode_documents("a"))
    client.close()


def test_several_processes_upload_what_this_one_encodes(remote: Client, server: EdgeServer, mini: Encoder) -> None:
    create(remote)
    texts = [f"text {i}" for i in range(300)]
    remote.upload_points(COLLECTION, (point for point in points(texts)), batch_size=20, parallel=2, wait=True)
    assert len(bodies(server, "/points")) == 15
    assert_equal(stored(remote, 300), mini.encode_documents(texts))


def test_an_upload_reads_few_points_ahead(remote: Client, server: EdgeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "BLOCK_POINTS", 16)
    create(remote)
    ahead = []

    def lazily() -> Iterator[models.PointStruct]:
        for number, point in enumerate(points([f"text {i}" for i in range(200)])):
            ahead.append(number - 8 * len(bodies(server, "/points")))
            yield point

    remote.upload_points(COLLECTION, lazily(), batch_size=8)
    assert len(ahead) == 200
    assert max(ahead) <= 3 * 16 + 8


def test_the_next_block_is_encoded_while_one_is_sent(remote: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "BLOCK_POINTS", 8)
    create(remote)
    second_block = threading.Event()
    encoded: list[int] = []
    sent_meanwhile: list[bool] = []
    encode, upsert = encode_requests.encode_requests, EdgeCollection.upsert

    def note_encoding(requests: Any) -> Any:
        encoded.append(len(requests))
        if len(encoded) == 2:
            second_block.set()
        return encode(requests)

    def wait_for_it(self: EdgeCollection, body: Any) -> Any:
        sent_meanwhile.append(second_block.wait(timeout=60))
        return upsert(self, body)

    monkeypatch.setattr(embed, "encode_requests", note_encoding)
    monkeypatch.setitem(edge_server.ROUTES, ("PUT", "points"), wait_for_it)
    remote.upload_points(COLLECTION, points([f"text {i}" for i in range(24)]), batch_size=8)
    assert encoded == [8, 8, 8]
    assert sent_meanwhile == [True] * 3


def test_a_document_is_never_cut_at_the_end_of_a_block(remote: Client, mini: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "BLOCK_POINTS", 4)
    create(remote)
    chunks = [[f"chunk {i} of {length}" for i in range(length)] for length in (3, 3, 9, 1, 2)]
    vectors = [document(chunk, document_id=number) for number, texts in enumerate(chunks) for chunk in texts]
    remote.upload_collection(COLLECTION, iter(vectors), ids=range(len(vectors)), batch_size=2)
    assert_equal(stored(remote, len(vectors)), np.concatenate(mini.encode_chunks(chunks)))


def point(number: int, **options: Any) -> models.PointStruct:
    return models.PointStruct(id=number, vector=document(f"text {number}", **options))


def test_a_document_without_end_is_refused(remote: Client, server: EdgeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "BLOCK_POINTS", 4)
    monkeypatch.setattr(embed, "MAX_CHUNKS", 10)
    create(remote)
    with pytest.raises(
        ValueError, match=r"Document\('a', .*document without a document_id has more than 10 points .* its own document_id"
    ):
        remote.upload_points(COLLECTION, points(["a"] * 11, late_chunking=True))
    remote.upload_points(COLLECTION, points(["a"] * 10, late_chunking=True))
    assert len(bodies(server, "/points")) == 1


def test_points_before_a_document_do_not_count_as_its_own(
    remote: Client, server: EdgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed, "BLOCK_POINTS", 4)
    monkeypatch.setattr(embed, "MAX_CHUNKS", 10)
    create(remote)
    ids = [*"abc", *"d" * 10]
    remote.upload_points(COLLECTION, (point(number, document_id=id) for number, id in enumerate(ids)))
    assert len(remote.retrieve(COLLECTION, list(range(20)))) == 13


def test_a_document_that_comes_back_much_later_is_refused(remote: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "BLOCK_POINTS", 4)
    create(remote)
    ids = [*"aabbccddeeffgg", "a"]
    with pytest.raises(ValueError, match=r"Document\('text 14', .* between the chunks of document 'a'. .* one after another"):
        remote.upload_points(COLLECTION, (point(number, document_id=id) for number, id in enumerate(ids)), batch_size=2)
    assert len(remote.retrieve(COLLECTION, list(range(20)))) == 14


def test_what_comes_before_a_mistake_is_sent_and_the_mistake_is_named(
    remote: Client, server: EdgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed, "BLOCK_POINTS", 2)
    create(remote)
    wrong = models.PointStruct(id=9, vector=document("the ninth", dims=3))
    with pytest.raises(ValueError, match=r"Document\('the ninth', .* unknown option 'dims'"):
        remote.upload_points(COLLECTION, [*points(), wrong], batch_size=2)
    assert [len(body["points"]) for body in bodies(server, "/points")] == [2, 2]


def test_arrays_of_ready_vectors_are_uploaded_as_before(remote: Client) -> None:
    create(remote)
    ready = np.eye(3, WIDTH, dtype=np.float32)
    remote.upload_collection(COLLECTION, ready, ids=[0, 1, 2])
    assert_equal(stored(remote, 3), ready)


class Recorder(PointsServicer):
    """A gRPC server's side of the points service that only notes what it was sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def Upsert(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.sent.append(request)
        return messages.PointsOperationResponse(result=messages.UpdateResult(status=messages.UpdateStatus.Completed))

    def Query(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.sent.append(request)
        return messages.QueryResponse()


@pytest.fixture
def recorder() -> Iterable[tuple[Recorder, int]]:
    recorder = Recorder()
    server = grpc.server(futures.ThreadPoolExecutor(1))
    add_PointsServicer_to_server(recorder, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield recorder, port
    server.stop(None).wait()


def numbers(vector: Any) -> list[float]:
    """The numbers of a gRPC vector, which moved to another field over the versions."""
    return list(vector.dense.data) or list(vector.data)


def test_grpc_carries_the_same_vectors(recorder: tuple[Recorder, int], mini: Encoder) -> None:
    noted, port = recorder
    client = TaskvecQdrantClient(
        host="127.0.0.1", port=1, grpc_port=port, prefer_grpc=True, https=False, check_compatibility=False, encoder=mini
    )
    client.upsert(COLLECTION, points())
    client.query_points(COLLECTION, document(QUESTION))
    client.upload_points(COLLECTION, points(TEXTS[:1]))
    written, asked, uploaded = noted.sent
    assert_equal([numbers(point.vectors.vector) for point in written.points], mini.encode_documents(TEXTS))
    assert_equal(numbers(asked.query.nearest), mini.encode_queries(QUESTION))
    assert_equal(numbers(uploaded.points[0].vectors.vector), mini.encode_documents(TEXTS[0]))
    client.close()
