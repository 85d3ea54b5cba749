"""What errors of Milvus mean, and that a busy server loses nothing."""

from typing import Any

import grpc
import pytest
from pymilvus import MilvusClient, MilvusException
from pymilvus.exceptions import DataNotMatchException, ParamError

from taskvec import Encoder
from taskvec_integrations.milvus import MilvusStore
from taskvec_integrations.milvus.errors import reason, refused, retry_after


class FailingClient(MilvusClient):  # type: ignore[misc]
    """A client whose first upserts and flushes fail as they do in a busy cluster."""

    failures: list[Exception]

    def upsert(self, *args: Any, **kwargs: Any) -> Any:
        if self.failures:
            raise self.failures.pop()
        return super().upsert(*args, **kwargs)


class RpcError(grpc.RpcError):  # type: ignore[misc]
    def __init__(self, code: grpc.StatusCode, details: str = "") -> None:
        self._code, self._details = code, details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details


def test_a_busy_server_loses_nothing(uri: str, mini: Encoder, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = FailingClient(uri)
    client.failures = [
        MilvusException(8, "rate limit exceeded"),
        MilvusException(1, "service not ready[standby]"),
        RpcError(grpc.StatusCode.UNAVAILABLE),
        RpcError(grpc.StatusCode.DEADLINE_EXCEEDED),
    ]
    store = MilvusStore(client, name, encoder=mini, dimensions=8)
    monkeypatch.setattr(store.backend, "first_wait", 0.001)
    assert store.ingest([("a", "A text."), ("b", "Another.")]).chunks.written == 2
    assert not client.failures
    client.failures = [MilvusException(1401, "privilege not permitted")]
    with pytest.raises(MilvusException, match="privilege not permitted"):
        store.ingest([("c", "A third.")])
    client.close()


BUSY, BAD, OTHER = (0.0, False), (None, True), (None, False)


@pytest.mark.parametrize(
    ("error", "means"),
    [
        (MilvusException(2, "service unavailable"), BUSY),
        (MilvusException(grpc.StatusCode.UNAVAILABLE, "Retry run out of 75 retry times"), BUSY),
        (MilvusException(RpcError(grpc.StatusCode.UNAVAILABLE).code, "Retry run out"), BUSY),  # as pymilvus 2.6.0 has it
        (RpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, "too busy"), BUSY),
        (RpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, "grpc: received message larger than max (84 vs. 67)"), BAD),
        (RpcError(grpc.StatusCode.INVALID_ARGUMENT), BAD),
        (MilvusException(1100, "the length (70000) of 0th string exceeds max length"), BAD),
        (ParamError(message="wrong"), BAD),
        (DataNotMatchException(message="wrong"), BAD),
        (ValueError("its payload has the key"), BAD),
        (MilvusException(9, "quota exceeded"), OTHER),
        (MilvusException(100, "collection not found"), OTHER),
        (MilvusException(1, "Unexpected error"), OTHER),
        (RpcError(grpc.StatusCode.UNAUTHENTICATED), OTHER),
        (KeyError("x"), OTHER),
    ],
    ids=str,
)
def test_what_errors_mean(error: Exception, means: tuple[float | None, bool]) -> None:
    assert (retry_after(error), retry_after(error) is None and refused(error)) == means


def test_reasons_are_one_line() -> None:
    assert reason(MilvusException(1100, "too long")) == "1100: too long"
    assert reason(RpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, "larger than max")) == "RESOURCE_EXHAUSTED: larger than max"
    assert reason(ValueError("its payload")) == "its payload"
