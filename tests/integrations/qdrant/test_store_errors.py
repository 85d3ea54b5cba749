"""What errors of Qdrant mean for a store: which calls are made again, which points are named, what ends a run."""

import threading
import time
from typing import Any

import grpc
import httpx
import pytest
from qdrant_client import QdrantClient
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from support.qdrant.http import StubQdrant, fail, stub_qdrant
from taskvec import Encoder
from taskvec_integrations.qdrant import QdrantStore
from taskvec_integrations.qdrant.errors import refused, retry_after
from taskvec_integrations.store import Document

TEXTS = [(number, f"text {number}") for number in range(40)]


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
    stub: StubQdrant, stub_client: QdrantClient, short: Encoder, what: str, answer: tuple[int, dict[str, str]]
) -> None:
    store = QdrantStore(stub_client, "docs", encoder=short)
    start = time.monotonic()
    if what in ("delete", "batch"):
        store.ingest([("cut", "a"), *TEXTS])
        store.ingest([Document("cut", chunks=["a", "b"])])
        stub.trouble = fail(1, what, answer)
        report = store.ingest([Document("cut", "a", payload={"new": 1})])
        assert (report.chunks.written, report.chunks.deleted) == (1, 1)
    else:
        stub.trouble = fail(1, what, answer)
        report = store.ingest(TEXTS)
        assert stub.count_points() == 40
    assert report.retries == 1
    if answer[1]:
        assert time.monotonic() - start >= 1  # as long as the server asked


def test_a_call_that_gets_no_answer_is_made_again(stub: StubQdrant, stub_client: QdrantClient, short: Encoder) -> None:
    QdrantStore(stub_client, "docs", encoder=short).ingest([])
    calls = 0
    second_call = threading.Event()

    def trouble(what: str, body: Any) -> None:
        nonlocal calls
        if what == "upsert":
            calls += 1
            if calls > 1:
                second_call.set()
            assert second_call.wait(120)

    stub.trouble = trouble
    impatient = QdrantClient(stub.url, check_compatibility=False, timeout=1)
    assert QdrantStore(impatient, "docs", encoder=short).ingest(TEXTS).retries >= 1
    assert stub.count_points() == 40
    impatient.close()


def test_a_server_that_is_gone_ends_the_run(short: Encoder) -> None:
    with stub_qdrant() as stub:
        client = QdrantClient(stub.url, check_compatibility=False, timeout=1)
    store = QdrantStore(client, "docs", encoder=short, retry_seconds=0.3)
    with pytest.raises(ResponseHandlingException):
        store.ingest(TEXTS)
    client.close()


def test_points_that_the_server_refuses_are_named(stub: StubQdrant, stub_client: QdrantClient, short: Encoder) -> None:
    def trouble(what: str, body: Any) -> Any:
        texts = [payload["text"] for payload in body["batch"]["payloads"]] if what == "upsert" and "batch" in body else []
        if len(texts) > 10:
            return 413, {}
        return (400, {}) if "text 17" in texts else None

    stub.trouble = trouble
    report = QdrantStore(stub_client, "docs", encoder=short).ingest(TEXTS)
    assert [(failure.document_id, failure.chunk) for failure in report.failed] == [("17", 0)]
    assert report.failed[0].reason == "400 (Bad Request): told to answer 400"
    assert (report.documents.written, report.retries) == (39, 0)
    assert stub.count_points() == 39


def test_a_wrong_key_ends_the_run(stub: StubQdrant, stub_client: QdrantClient, short: Encoder) -> None:
    store = QdrantStore(stub_client, "docs", encoder=short)
    store.ingest([])
    stub.requests.clear()
    stub.trouble = lambda what, body: (401, {}) if what == "upsert" else None
    with pytest.raises(UnexpectedResponse, match="401"):
        store.ingest(TEXTS)
    assert [what for what, _ in stub.requests].count("upsert") == 1


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
        (ResponseHandlingException(ValueError("not JSON")), None, False),
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
