"""Limits on bodies and requests: what is refused, and that there is room again afterwards."""

from collections.abc import Iterator

import httpx
import pytest

from support.server.app import serving
from support.server.raw_http import read_response, send_raw
from support.server.waiting import GUARD_SECONDS, wait_for_metric
from taskvec import Encoder

BODY = {"model": "mini", "input": ["Bread rises."], "dimensions": 8}
OPEN_REQUESTS = "taskvec_requests_held"


@pytest.fixture(scope="module")
def url(mini: Encoder) -> Iterator[str]:
    """A server with room for little, which waits for bodies as long as a test takes."""
    with serving(mini, max_body_mib=0.01, max_bodies_mib=0.015, max_requests=2, body_seconds=600, max_inputs=3) as url:
        yield url


def embed(url: str, **fields: object) -> httpx.Response:
    return httpx.post(f"{url}/v1/embeddings", json={**BODY, **fields}, timeout=GUARD_SECONDS)


def test_a_body_that_declares_too_much_is_not_read(url: str) -> None:
    response = read_response(send_raw(url, "Content-Length: 20000000"))
    assert " 413 " in response.splitlines()[0]
    assert "larger than 0.01 MiB" in response


def test_a_body_that_declares_nothing_is_cut_off(url: str) -> None:
    connection = send_raw(url, "Transfer-Encoding: chunked", *[b"1000\r\n" + b" " * 4096 + b"\r\n"] * 4)
    assert " 413 " in read_response(connection).splitlines()[0]


def test_a_body_that_does_not_arrive_is_given_up(mini: Encoder) -> None:
    with serving(mini, body_seconds=0.2) as url:
        response = read_response(send_raw(url, "Content-Length: 100", b'{"model"'))
        assert " 408 " in response.splitlines()[0]
        assert "within 0.2 s" in response
        wait_for_metric(url, OPEN_REQUESTS, 0)


def test_bodies_are_limited_together(url: str) -> None:
    """A body that is on its way counts with its whole length; when it is gone there is room again."""
    wait_for_metric(url, OPEN_REQUESTS, 0)
    first = send_raw(url, "Content-Length: 10000", b"{")
    wait_for_metric(url, OPEN_REQUESTS, 1)
    response = read_response(send_raw(url, "Content-Length: 9000", b"{"))
    assert " 503 " in response.splitlines()[0]
    assert "retry-after: 1" in response.lower()
    assert "larger than 0.015 MiB together" in response
    first.close()
    wait_for_metric(url, OPEN_REQUESTS, 0)
    assert embed(url, input="a" * 9000).status_code == 200


def test_requests_are_limited_together_and_health_is_not(url: str) -> None:
    wait_for_metric(url, OPEN_REQUESTS, 0)
    connections = [send_raw(url, "Content-Length: 100", b"{") for _ in range(2)]
    wait_for_metric(url, OPEN_REQUESTS, 2)
    refused = embed(url)
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert "the server handles 2 requests, the limit is 2: try again" in refused.json()["detail"]
    for path in ("/health", "/metrics"):  # a busy server is when they matter
        assert httpx.get(f"{url}{path}").status_code == 200
    for connection in connections:
        connection.close()
    wait_for_metric(url, OPEN_REQUESTS, 0)
    assert embed(url).status_code == 200


def test_texts_of_a_request_are_limited(url: str) -> None:
    response = embed(url, input=["a"] * 4)
    assert response.status_code == 422
    assert "the request has 4 texts, the limit is 3: send them in several requests" in response.json()["detail"]
