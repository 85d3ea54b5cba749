"""What surrounds every route: request ids, the log, metrics, failures, clients that do not read."""

import json
import logging
from typing import Any

import httpx
import pytest

from support.server.app import serving
from support.server.raw_http import send_raw
from support.server.waiting import GUARD_SECONDS, metric, wait_for_metric, wait_until
from taskvec import Encoder
from taskvec_integrations.server.logs import FORMATTERS

BODY = {"model": "mini", "input": ["Bread rises."], "dimensions": 8}


def embed(client: httpx.Client, **fields: Any) -> httpx.Response:
    return client.post("/v1/embeddings", json={**BODY, **fields})


def test_requests_have_ids(client: httpx.Client) -> None:
    assert client.get("/live", headers={"x-request-id": "a-1"}).headers["x-request-id"] == "a-1"
    made = client.get("/live", headers={"x-request-id": "a b;c"}).headers["x-request-id"]
    assert len(made) == 32
    assert client.get("/live").headers["x-request-id"] != made


def test_the_log_has_a_line_for_a_request_and_no_texts(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    def lines() -> list[logging.LogRecord]:
        return [record for record in caplog.records if hasattr(record, "facts")]

    with caplog.at_level(logging.DEBUG, "taskvec"):
        embed(client, input="a very private text", task="classification")
        wait_until(lambda: len(lines()) == 1)  # a line is written when the response is out
        embed(client, input="another private text", dimensions=0)
        wait_until(lambda: len(lines()) == 2)
    facts: list[dict[str, Any]] = [vars(line)["facts"] for line in lines()]
    assert [(line["route"], line["status"], line["task"], line["texts"]) for line in facts] == [
        ("/v1/embeddings", 200, "classification", 1),
        ("/v1/embeddings", 422, "", 0),
    ]
    for formatter in FORMATTERS.values():
        written = "\n".join(formatter.format(record) for record in caplog.records)
        assert "private" not in written
        assert facts[0]["id"] in written
    assert json.loads(FORMATTERS["json"].format(lines()[0]))["tokens"] == facts[0]["tokens"] > 0


def test_metrics(client: httpx.Client, url: str) -> None:
    requests = 'taskvec_request_seconds_count{route="/v1/embeddings",status="200",task="separation"}'
    tokens = 'taskvec_tokens_total{task="separation"}'
    before = metric(url, requests), metric(url, tokens)
    used = embed(client, task="separation").json()["usage"]["total_tokens"]
    wait_for_metric(url, requests, before[0] + 1)  # a request is counted when its response is out
    assert metric(url, tokens) == before[1] + used
    assert metric(url, 'taskvec_queue_seconds_count{route="/v1/embeddings",task="separation"}') > 0
    text = client.get("/metrics").text
    for name in ("taskvec_queue_seconds_count", "taskvec_batch_fill_bucket", "taskvec_waiting_tokens", "process_resident_memory"):
        assert name in text


def test_a_client_that_does_not_read_is_given_up(mini: Encoder) -> None:
    with serving(mini, send_seconds=0.3) as url:
        body = json.dumps({**BODY, "input": ["a"] * 2000, "dimensions": 384}).encode()
        connection = send_raw(url, f"Content-Length: {len(body)}", body)
        wait_until(lambda: metric(url, "taskvec_request_seconds_count") > 0)
        wait_for_metric(url, "taskvec_requests_held", 0)
        read = 0
        with connection:
            try:
                while part := connection.recv(65536):
                    read += len(part)
            except ConnectionError:
                pass
        assert 0 < read < 7_000_000  # of about 8 MB


def test_a_failure_of_the_encoder_is_500_without_details(
    mini: Encoder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(mini) as url:
        monkeypatch.setattr(mini, "run", lambda *args, **kwargs: 1 / 0)
        response = httpx.post(f"{url}/v1/embeddings", json=BODY, timeout=GUARD_SECONDS)
        monkeypatch.undo()
    assert response.status_code == 500
    assert "division" not in response.text
    assert response.json()["error"]["type"] == "server_error"
    assert "ZeroDivisionError" in caplog.text
    assert response.headers["x-request-id"] in caplog.text
