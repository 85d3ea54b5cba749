"""What is particular to QdrantStore: errors on the wire, collections that users made, kinds of clients."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient, models
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from support.qdrant.http import StubQdrant, stub_qdrant
from taskvec import Encoder
from taskvec_integrations.ingestion.backend import Record
from taskvec_integrations.qdrant import QdrantStore
from taskvec_integrations.qdrant.backend import RECORD_POINT, QdrantBackend
from taskvec_integrations.qdrant.errors import refused, retry_after
from taskvec_integrations.store import Document

TEXTS = [(number, f"text {number}") for number in range(40)]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QdrantBackend, "first_wait", 0.01)


@pytest.fixture
def server() -> Iterator[StubQdrant]:
    with stub_qdrant() as server:
        yield server


@pytest.fixture
def remote(server: StubQdrant) -> Iterator[QdrantClient]:
    client = QdrantClient(server.url, check_compatibility=False, timeout=1)
    yield client
    client.close()


def times(count: int, what: str, answer: Any) -> Callable[[str, Any], Any]:
    left = [count]

    def trouble(asked: str, body: Any) -> Any:
        if asked != what or not left[0]:
            return None
        left[0] -= 1
        return answer() if callable(answer) else answer

    return trouble


def count(server: StubQdrant) -> int:
    points, _ = server.client.scroll("docs", limit=1000)
    return sum(point.id != RECORD_POINT for point in points)


def test_the_collection_is_made_as_described(server: StubQdrant, remote: QdrantClient, short: Encoder) -> None:
    store = QdrantStore(remote, "docs", encoder=short, dimensions=16, datatype="float16", document_task="separation")
    store.ingest([])
    config = server.client.get_collection("docs").config
    assert config.params.vectors == models.VectorParams(
        size=16, distance=models.Distance.COSINE, datatype=models.Datatype.FLOAT16
    )
    found = QdrantBackend(remote, "docs", "", "float32").find()
    assert found
    assert found.record == Record(short.fingerprint, 16, "separation", late_chunking=False)
    assert server.indexed == ["document_id"]


@pytest.mark.parametrize(
    ("what", "answer"),
    [
        *((what, (503, {})) for what in ("exists", "create", "scroll", "upsert", "delete", "batch")),
        ("upsert", (429, {})),
        ("upsert", (429, {"Retry-After": "1"})),
        ("upsert", (503, {"Retry-After": "1"})),
    ],
    ids=str,
)
def test_a_busy_server_is_asked_again(
    server: StubQdrant, remote: QdrantClient, short: Encoder, what: str, answer: tuple[int, dict[str, str]]
) -> None:
    store = QdrantStore(remote, "docs", encoder=short)
    start = time.perf_counter()
    if what in ("delete", "batch"):
        store.ingest([("cut", "a"), *TEXTS])
        store.ingest([Document("cut", chunks=["a", "b"])])
        server.trouble = times(1, what, answer)
        report = store.ingest([Document("cut", "a", payload={"new": 1})])
        assert (report.chunks.written, report.chunks.deleted) == (1, 1)
    else:
        server.trouble = times(1, what, answer)
        report = store.ingest(TEXTS)
        assert count(server) == 40
    assert report.retries == 1
    assert (time.perf_counter() - start >= 1) == bool(answer[1])


def test_a_slow_answer_is_asked_for_again(server: StubQdrant, remote: QdrantClient, short: Encoder) -> None:
    store = QdrantStore(remote, "docs", encoder=short)
    store.ingest([])
    server.trouble = times(1, "upsert", lambda: time.sleep(1.3))
    assert store.ingest(TEXTS).retries == 1
    assert count(server) == 40


def test_a_server_that_is_gone_ends_the_run(short: Encoder) -> None:
    with stub_qdrant() as server:
        client = QdrantClient(server.url, check_compatibility=False, timeout=1)
    store = QdrantStore(client, "docs", encoder=short, retry_seconds=0.3)
    with pytest.raises(ResponseHandlingException):
        store.ingest(TEXTS)
    client.close()


def test_points_that_the_server_refuses_are_named(server: StubQdrant, remote: QdrantClient, short: Encoder) -> None:
    def trouble(what: str, body: Any) -> Any:
        texts = [payload["text"] for payload in body["batch"]["payloads"]] if what == "upsert" and "batch" in body else []
        if len(texts) > 10:
            return 413, {}
        return (400, {}) if "text 17" in texts else None

    server.trouble = trouble
    report = QdrantStore(remote, "docs", encoder=short).ingest(TEXTS)
    assert [(failure.document_id, failure.chunk) for failure in report.failed] == [("17", 0)]
    assert report.failed[0].reason == "400 (Bad Request): told to answer 400"
    assert (report.documents.written, report.retries) == (39, 0)
    assert count(server) == 39


def test_a_wrong_key_ends_the_run(server: StubQdrant, remote: QdrantClient, short: Encoder) -> None:
    store = QdrantStore(remote, "docs", encoder=short)
    store.ingest([])
    server.requests.clear()
    server.trouble = lambda what, body: (401, {}) if what == "upsert" else None
    with pytest.raises(UnexpectedResponse, match="401"):
        store.ingest(TEXTS)
    assert [what for what, _ in server.requests].count("upsert") == 1


def test_requests_are_bounded_in_bytes(
    server: StubQdrant, remote: QdrantClient, short: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QdrantBackend, "max_batch_bytes", 20_000)
    documents = [(number, f"ü{number} " * 40) for number in range(60)]
    QdrantStore(remote, "docs", encoder=short).ingest(documents)
    sizes = [size for what, size in server.requests if what == "upsert"]
    assert max(sizes) <= 20_000
    assert len(sizes) <= 2 * 60 * 1100 / 20_000 + 1  # and not much smaller than they may be


class RpcError(grpc.RpcError):  # type: ignore[misc]
    def __init__(self, code: grpc.StatusCode, details: str = "") -> None:
        self._code, self._details = code, details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details


class AskedToWaitError(Exception):
    retry_after_s = 7


def response(status: int, **headers: str) -> UnexpectedResponse:
    return UnexpectedResponse(status, "", b"", httpx.Headers(headers))


@pytest.mark.parametrize(
    ("error", "wait", "is_refused"),
    [
        (response(429), 0.0, False),
        (response(503, **{"Retry-After": "3"}), 3.0, False),
        (response(503, **{"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}), 0.0, False),
        (response(504), 0.0, False),
        (response(400), None, True),
        (response(413), None, True),
        (response(401), None, False),
        (response(404), None, False),
        (response(500), None, False),
        (ResponseHandlingException(httpx.ConnectError("no route")), 0.0, False),
        (ResponseHandlingException(httpx.ReadTimeout("slow")), 0.0, False),
        (ResponseHandlingException(httpx.RemoteProtocolError("reset")), 0.0, False),
        (ResponseHandlingException(ValueError("no JSON")), None, False),
        (AskedToWaitError(), 7.0, False),
        (RpcError(grpc.StatusCode.UNAVAILABLE), 0.0, False),
        (RpcError(grpc.StatusCode.DEADLINE_EXCEEDED), 0.0, False),
        (RpcError(grpc.StatusCode.RESOURCE_EXHAUSTED), 0.0, False),
        (RpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, "Sent message larger than max (5 vs. 4)"), None, True),
        (RpcError(grpc.StatusCode.INVALID_ARGUMENT), None, True),
        (RpcError(grpc.StatusCode.UNAUTHENTICATED), None, False),
        (ValueError("bad point"), None, True),
        (KeyError("x"), None, False),
        (ApiException(), None, False),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_errors_mean(error: Exception, wait: float | None, is_refused: bool) -> None:
    assert retry_after(error) == wait
    assert refused(error) is is_refused


def make(client: QdrantClient, **vectors: models.VectorParams) -> None:
    client.create_collection("docs", vectors)


COSINE = models.VectorParams(size=32, distance=models.Distance.COSINE)


def test_a_named_vector_of_the_users_collection(short: Encoder) -> None:
    client = QdrantClient(":memory:")
    make(client, dense=COSINE, other=COSINE)
    with pytest.raises(
        ValueError, match=r"has these vectors: 'dense' and 'other'; this store was told to use the unnamed vector"
    ):
        QdrantStore(client, "docs", encoder=short).ingest(TEXTS)
    store = QdrantStore(client, "docs", encoder=short, vector_name="dense")
    assert store.ingest(TEXTS).chunks.written == 40
    assert store.search("text 7", 1)[0].text
    points = [point for point in client.scroll("docs", limit=100, with_vectors=True)[0] if point.id != RECORD_POINT]
    vectors = short.encode_documents([point.payload["text"] for point in points])
    np.testing.assert_allclose([point.vector["dense"] for point in points], vectors, atol=1e-6)
    client.close()


@pytest.mark.parametrize(
    ("params", "said"),
    [
        (
            COSINE.model_copy(update={"multivector_config": models.MultiVectorConfig(comparator="max_sim")}),
            "has multivectors; this store writes one",
        ),
        (COSINE.model_copy(update={"datatype": models.Datatype.UINT8}), "has datatype uint8, which keeps nothing"),
    ],
    ids=["multivector", "uint8"],
)
def test_fields_that_do_not_fit_are_refused(short: Encoder, params: models.VectorParams, said: str) -> None:
    client = QdrantClient(":memory:")
    make(client, dense=params)
    with pytest.raises(ValueError, match=said):
        QdrantStore(client, "docs", encoder=short, vector_name="dense").ingest(TEXTS)
    client.close()


def test_uint8_is_refused_with_the_reason(short: Encoder) -> None:
    client = QdrantClient(":memory:")
    with pytest.raises(ValueError, match=r"datatype is 'uint8': use float32 or float16 .uint8 keeps only whole numbers"):
        QdrantStore(client, "docs", encoder=short, datatype="uint8")  # type: ignore[arg-type]
    client.close()


def test_what_is_no_client_is_refused(short: Encoder) -> None:
    with pytest.raises(TypeError, match="client is 'http://localhost': a QdrantClient or AsyncQdrantClient was expected"):
        QdrantStore("http://localhost", "docs", encoder=short)  # type: ignore[arg-type]


def test_an_async_client_asks_for_the_async_methods(short: Encoder) -> None:
    client = AsyncQdrantClient(":memory:")
    with pytest.raises(RuntimeError, match="this store has an AsyncQdrantClient: use aingest and asearch"):
        QdrantStore(client, "docs", encoder=short).ingest(TEXTS)
    asyncio.run(client.close())


def test_an_async_client_over_http_leaves_the_loop_free(server: StubQdrant, short: Encoder) -> None:
    async def run() -> list[str]:
        client = AsyncQdrantClient(server.url, check_compatibility=False)
        store = QdrantStore(client, "docs", encoder=short)
        gaps, stop = [0.0], asyncio.Event()

        async def tick() -> None:
            while not stop.is_set():
                start = time.perf_counter()
                await asyncio.sleep(0.001)
                gaps.append(time.perf_counter() - start)

        ticking = asyncio.create_task(tick())
        server.trouble = lambda what, body: time.sleep(0.4) if what == "upsert" else None
        report = await store.aingest(TEXTS)
        hits = await asyncio.gather(*(store.asearch(text, 1) for _, text in TEXTS[:5]))
        stop.set()
        await ticking
        await client.close()
        assert report.chunks.written == 40
        assert len(gaps) > 50
        assert max(gaps) < 0.35
        return [hit.text for (hit,) in hits]

    assert len(asyncio.run(run())) == 5


def test_the_reserved_point_of_an_older_server_is_never_found(server: StubQdrant, remote: QdrantClient, short: Encoder) -> None:
    server.knows_metadata = False
    store = QdrantStore(remote, "docs", encoder=short)
    store.ingest(TEXTS[:3])
    assert server.client.count("docs").count == 4
    assert len(store.search("text", 100)) == 3
    assert store.ingest(TEXTS[:3]).documents.skipped == 3
    with pytest.raises(ValueError, match="has document_task retrieval"):
        QdrantStore(remote, "docs", encoder=short, document_task=None).ingest([])
    assert server.client.retrieve("docs", [RECORD_POINT])


def test_a_record_of_another_version_is_said(short: Encoder) -> None:
    client = QdrantClient(":memory:")
    client.create_collection("docs", COSINE)
    client.upsert("docs", [models.PointStruct(id=RECORD_POINT, vector={}, payload={"taskvec": {"model": "x", "version": 7}})])
    with pytest.raises(ValueError, match=r"not of this version of taskvec: {'model': 'x', 'version': 7}"):
        QdrantStore(client, "docs", encoder=short).ingest(TEXTS)
    client.close()


def test_a_folder_keeps_its_record(tmp_path: Path, short: Encoder) -> None:
    for _ in range(2):
        client = QdrantClient(path=str(tmp_path))
        QdrantStore(client, "docs", encoder=short, dimensions=8).ingest(TEXTS)
        with pytest.raises(ValueError, match="has dimensions 8; this store has dimensions 32"):
            QdrantStore(client, "docs", encoder=short).ingest(TEXTS)
        client.close()
