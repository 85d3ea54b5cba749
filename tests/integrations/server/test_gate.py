"""The door of the server: keys, limits, ids, what is refused and how, callers who leave, what the log and the metrics say."""

import asyncio
import json
import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from support.server.app import serving
from taskvec import Encoder, Task
from taskvec.packing import Batch
from taskvec_integrations.server.logs import FORMATTERS
from taskvec_integrations.server.settings import ServerSettings, check_host

BODY = {"model": "mini", "input": ["Bread rises."], "dimensions": 8}
JSON = {"content-type": "application/json"}
QUERY = Task.RETRIEVAL_QUERY


def post(client: httpx.Client, **fields: Any) -> httpx.Response:
    return client.post("/v1/embeddings", json={**BODY, **fields})


@pytest.mark.parametrize(
    ("fields", "status", "sentence"),
    [
        ({"model": "gpt"}, 404, "model 'gpt' is not served here: use mini, jinaai/jina-embeddings-v3"),
        ({"model": "mini:nothing"}, 404, "model 'mini:nothing' is not served"),
        ({"model": 3}, 422, "model: it is 3: Input should be a valid string"),
        ({"input": []}, 422, "input: it is empty: send at least one text"),
        ({"input": ""}, 422, "input: it is an empty text"),
        ({"input": ["a", ""]}, 422, "input: item 1 is an empty text"),
        ({"input": ["a", None]}, 422, "input: item 1 is NoneType"),
        ({"input": {"image": "x"}}, 422, "input: it is dict"),
        ({"input": ["a", {"text": "b", "title": "c"}]}, 422, "input: item 1 is dict"),
        ({"input": [[101, 102]]}, 422, "check_embedding_ctx_length=False"),
        ({"input": [101, 102]}, 422, "check_embedding_ctx_length=False"),
        ({"input": "\ud800"}, 422, "lone surrogate"),
        ({"input": ["a"] * 2049}, 422, "2049 texts came in one request, 2048 may"),
        ({"input": "yeast " * 9000}, 422, "text 0 has 9002 tokens, instruction included, but the limit is 8192"),
        ({"task": "search"}, 422, "unknown task 'search': use one of retrieval.query, retrieval.passage"),
        ({"task": "retrieval.passage", "model": "mini:query"}, 422, "choose the task once"),
        ({"dimensions": 385}, 422, "dimensions is 385, but this model's vectors have 384: use 1 to 384"),
        ({"dimensions": 0}, 422, "dimensions: it is 0: Input should be greater than or equal to 1"),
        ({"dimensions": "8"}, 422, "dimensions: it is '8': Input should be a valid integer"),
        ({"dimensions": 2**70}, 422, "dimensions"),
        ({"late_chunking": "yes"}, 422, "late_chunking: it is 'yes': Input should be a valid boolean"),
        ({"late_chuncking": True}, 422, "there is no field 'late_chuncking': look for its spelling"),
        ({"embedding_type": "int4"}, 422, "embedding_type"),
        ({"embedding_type": []}, 422, "embedding_type"),
        ({"embedding_type": "float", "encoding_format": "base64"}, 422, "disagree: give one of them"),
        ({"embedding_type": "binary", "dimensions": 9}, 422, "9 is not a multiple of 8"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_wrong_is_said_in_both_shapes(client: httpx.Client, fields: dict[str, Any], status: int, sentence: str) -> None:
    answer = client.post("/v1/embeddings", content=json.dumps({**BODY, **fields}).encode(), headers=JSON)
    assert answer.status_code == status
    body = answer.json()
    assert sentence in body["detail"]
    assert body["error"]["message"] == body["detail"]
    assert body["error"]["code"] == status
    assert ("errors" in body) == (status == 422)


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("/embed", {"inputs": "a", "prompt_name": "ask"}, "prompt_name is 'ask': use one of query, passage"),
        ("/embed", {"inputs": "a", "prompt_name": "query", "task": "separation"}, "both choose the task"),
        ("/embed", {"inputs": "a", "truncation_direction": "left"}, "truncation_direction: it is 'left'"),
        ("/embed", {"inputs": "a", "top": 1}, "there is no field 'top'"),
        (
            "/embed",
            {"model": "mini", "inputs": ["a"], "parameters": {"input_type": "text"}},
            "parameters.input_type: it is 'text'",
        ),
        ("/embed", {"model": "mini", "inputs": ["a"], "parameters": {"input_type": "query", "task": "none"}}, "both choose"),
        ("/invocations", {"data": []}, "data: it is empty"),
        ("/score", {"input": "a"}, "model: it is missing"),
        ("/", {}, "inputs: it is missing"),
    ],
    ids=str,
)
def test_other_dialects_say_what_is_wrong(client: httpx.Client, path: str, body: dict[str, Any], sentence: str) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code == 422
    assert sentence in answer.json()["detail"]


@pytest.mark.parametrize(
    ("content", "headers", "status", "sentence"),
    [
        (b'{"model":', JSON, 422, "the body is no JSON"),
        (b"[" * 50_000, JSON, 400, ""),
        (b"\xff\xfe", JSON, 422, "the body is no JSON"),
        (b"", JSON, 422, "body"),
        (b'"text"', JSON, 422, "body"),
        (json.dumps(BODY).encode(), {"content-type": "application/x-www-form-urlencoded"}, 422, "Content-Type: application/json"),
        (json.dumps(BODY).encode(), {}, 422, "Content-Type: application/json"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bodies_that_are_no_request(
    client: httpx.Client, content: bytes, headers: dict[str, str], status: int, sentence: str
) -> None:
    answer = client.post("/v1/embeddings", content=content, headers=headers)
    assert answer.status_code == status
    assert sentence in answer.json()["detail"]
    assert answer.json()["error"]["message"]


def test_unknown_paths_and_methods_have_the_same_shape(client: httpx.Client) -> None:
    assert client.get("/v1/nothing").json()["error"]["code"] == 404
    assert client.get("/v1/embeddings").json()["error"]["code"] == 405
    assert client.get("/embed").headers["allow"] == "POST"
    assert client.get("/query/v1/embeddings").headers["allow"] == "POST"
    assert client.put("/").headers["allow"] in ("GET, POST", "POST, GET")


def test_requests_have_ids(client: httpx.Client) -> None:
    assert client.get("/live", headers={"x-request-id": "a-1"}).headers["x-request-id"] == "a-1"
    made = client.get("/live", headers={"x-request-id": "a b;c"}).headers["x-request-id"]
    assert len(made) == 32
    assert client.get("/live").headers["x-request-id"] != made


@pytest.fixture(scope="module")
def guarded(mini: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text("# of the team\nsecond-key\n\n  third-key  \n")
    with serving(mini, api_keys="first-key", api_key_file=keys) as url:
        yield url


@pytest.mark.parametrize("key", ["first-key", "second-key", "third-key"])
@pytest.mark.parametrize("header", ["Authorization", "authorization", "Api-Key"])
def test_any_key_opens(guarded: str, key: str, header: str) -> None:
    value = f"Bearer {key}" if header.lower() == "authorization" else key
    assert httpx.post(f"{guarded}/v1/embeddings", json=BODY, headers={header: value}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "first-key"}, {"Api-Key": "# of the team"}, {"Api-Key": ""}],
)
@pytest.mark.parametrize(
    "path", ["/v1/embeddings", "/query/v1/embeddings", "/embed", "/", "/invocations", "/score", "/nothing", "/health"]
)
def test_nothing_is_embedded_without_a_key(guarded: str, path: str, headers: dict[str, str]) -> None:
    answer = httpx.post(f"{guarded}{path}", json=BODY, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "send Authorization: Bearer KEY" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/health", "/live", "/ready", "/ping", "/", "/docs", "/openapi.json"])
def test_health_and_pages_are_open(guarded: str, path: str) -> None:
    assert httpx.get(f"{guarded}{path}").status_code == 200


@pytest.mark.parametrize("path", ["/metrics", "/info", "/v1/models", "/models"])
def test_what_tells_of_the_server_is_not(guarded: str, path: str) -> None:
    assert httpx.get(f"{guarded}{path}").status_code == 401


@pytest.mark.parametrize("keys", [("",), (" ",), "  ,  ", ("good", "")])
def test_an_empty_key_is_none(keys: Any) -> None:
    with pytest.raises(ValueError, match=r"is empty|holds nothing"):
        ServerSettings(api_keys=keys)


def test_what_is_empty_in_the_environment_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TASKVEC_API_KEYS", "TASKVEC_API_KEY_FILE", "TASKVEC_MAX_INPUTS"):
        monkeypatch.setenv(name, "")
    assert ServerSettings() == ServerSettings(max_inputs=2048)


def test_a_key_file_of_another_editor(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes("\ufefffirst\r\n  # a remark\r\n".encode())
    settings = ServerSettings(api_key_file=tmp_path / "keys")
    assert (settings.opens("first"), settings.opens("# a remark"), settings.opens("")) == (True, False, False)


@pytest.mark.parametrize(
    "body",
    [
        {**BODY, **{f"field{number}": 1 for number in range(100_000)}},
        {**BODY, "embedding_type": ["x"] * 500_000},
        {**BODY, "input": [1] * 500_000},
        {**BODY, "input": ["a"] * 1_000_000},
        {**BODY, "model": "x" * 5_000_000},
        {**BODY, "task": "x" * 5_000_000},
    ],
    ids=["fields", "formats", "token ids", "texts", "model", "task"],
)
def test_a_large_mistake_has_a_small_answer(client: httpx.Client, body: dict[str, Any]) -> None:
    answer = client.post("/v1/embeddings", json=body)
    assert answer.status_code == 422
    assert len(answer.content) < 20_000


def test_an_endless_text_is_not_tokenised(client: httpx.Client, mini: Encoder) -> None:
    answer = post(client, input="a " * 300_000)
    assert answer.status_code == 422
    assert "text 0 has 600000 characters, the limit is 524288" in answer.json()["detail"]
    cut = post(client, input="a " * 300_000, truncate=True).json()["data"][0]["embedding"]
    np.testing.assert_allclose(cut, mini.encode("a " * 9000, task="text-matching", dimensions=8), atol=2e-6)


def test_who_does_not_read_is_given_up(mini: Encoder) -> None:
    with serving(mini, send_seconds=0.3) as url:
        body = json.dumps({**BODY, "input": ["a"] * 2000, "dimensions": 384}).encode()
        connection, _ = raw(url, f"Content-Length: {len(body)}", body)
        deadline = time.monotonic() + 30
        while 'taskvec_request_seconds_count{route="/v1/embeddings"' not in httpx.get(f"{url}/metrics").text:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        read = 0
        with connection:
            try:
                while part := connection.recv(65536):
                    read += len(part)
            except ConnectionError:
                pass
        assert 0 < read < 7_000_000  # of about 8 MB


def test_keys_are_not_shown(tmp_path: pytest.TempPathFactory) -> None:
    settings = ServerSettings(api_keys=("secret-1",))
    for text in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert "secret-1" not in text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", ""])
def test_the_public_is_not_let_in_without_a_key(host: str) -> None:
    with pytest.raises(ValueError, match="TASKVEC_API_KEYS"):
        check_host(host, ServerSettings(), insecure=False)
    check_host(host, ServerSettings(api_keys=("a",)), insecure=False)
    check_host(host, ServerSettings(), insecure=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_loopback_needs_none(host: str) -> None:
    check_host(host, ServerSettings(), insecure=False)


@pytest.fixture(scope="module")
def narrow(mini: Encoder) -> Iterator[str]:
    with serving(mini, max_body_mib=0.01, max_bodies_mib=0.015, max_requests=2, body_seconds=2, max_inputs=3) as url:
        yield url


def raw(url: str, head: str, *parts: bytes) -> tuple[socket.socket, bytes]:
    """A connection on which this was sent."""
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    lines = f"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{head}\r\n\r\n"
    connection.sendall(lines.encode())
    for part in parts:
        connection.sendall(part)
    return connection, b""


def answer_of(connection: socket.socket) -> str:
    with connection:
        return connection.recv(65536).decode()


def until_held(url: str, count: int) -> None:
    """Return when so many requests are held."""
    deadline = time.monotonic() + 10
    while f"taskvec_requests_held {count}.0" not in httpx.get(f"{url}/metrics").text:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_body_that_says_it_is_too_large_is_not_read(narrow: str) -> None:
    connection, _ = raw(narrow, "Content-Length: 20000000")
    answer = answer_of(connection)
    assert " 413 " in answer.splitlines()[0]
    assert "larger than 0.01 MiB" in answer


def test_a_body_that_does_not_say_so_is_cut_off(narrow: str) -> None:
    connection, _ = raw(narrow, "Transfer-Encoding: chunked", *[b"1000\r\n" + b" " * 4096 + b"\r\n"] * 4)
    assert " 413 " in answer_of(connection).splitlines()[0]


def test_a_body_that_does_not_come_is_given_up(narrow: str) -> None:
    start = time.monotonic()
    connection, _ = raw(narrow, "Content-Length: 100", b'{"model"')
    answer = answer_of(connection)
    assert " 408 " in answer.splitlines()[0]
    assert "within 2 s" in answer
    assert time.monotonic() - start < 5


def test_bodies_are_limited_together(narrow: str) -> None:
    """One that is on its way counts with its whole length; when it is gone there is room again."""
    until_held(narrow, 0)
    first, _ = raw(narrow, "Content-Length: 10000", b"{")
    until_held(narrow, 1)
    second, _ = raw(narrow, "Content-Length: 9000", b"{")
    answer = answer_of(second)
    assert " 503 " in answer.splitlines()[0]
    assert "retry-after: 1" in answer.lower()
    first.close()
    until_held(narrow, 0)
    assert httpx.post(f"{narrow}/v1/embeddings", json={**BODY, "input": "a" * 9000}).status_code == 200


def test_requests_are_limited_together_and_health_goes_on(narrow: str) -> None:
    until_held(narrow, 0)
    held = [raw(narrow, "Content-Length: 100", b"{")[0] for _ in range(2)]
    until_held(narrow, 2)
    refused = httpx.post(f"{narrow}/v1/embeddings", json=BODY)
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert "2 requests are held, as many as may" in refused.json()["detail"]
    for path in ("/health", "/metrics"):  # which is when they are asked for
        assert httpx.get(f"{narrow}{path}").status_code == 200
    for connection in held:
        connection.close()
    until_held(narrow, 0)
    assert httpx.post(f"{narrow}/v1/embeddings", json=BODY).status_code == 200


def test_texts_of_a_request_are_limited(narrow: str) -> None:
    answer = httpx.post(f"{narrow}/v1/embeddings", json={**BODY, "input": ["a"] * 4})
    assert answer.status_code == 422
    assert "4 texts came in one request, 3 may" in answer.json()["detail"]


class SlowEncoder:
    """The mini, every batch of which takes a moment; remembers how many tokens it ran."""

    def __init__(self, encoder: Encoder, seconds: float) -> None:
        self._encoder = encoder
        self._seconds = seconds
        self.tokens = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def run(self, batch: Batch, task: Task | None, *, device: int = 0) -> Any:
        time.sleep(self._seconds)
        self.tokens += sum(batch.lengths)
        return self._encoder.run(batch, task, device=device)


def slow(mini: Encoder, seconds: float, monkeypatch: pytest.MonkeyPatch) -> SlowEncoder:
    """A stand-in that `create_app` takes for an Encoder."""
    encoder = SlowEncoder(mini, seconds)
    monkeypatch.setattr("taskvec_integrations.lazy_encoder.LazyEncoder.get", lambda self: encoder)
    return encoder


def test_it_is_warm_before_it_listens(mini: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every task that requests have unasked, the default one too, was run on every device."""
    encoder = slow(mini, 0, monkeypatch)
    ran: list[tuple[Task | None, int]] = []

    def run(batch: Batch, task: Task | None, *, device: int = 0) -> Any:
        ran.append((task, device))
        return mini.run(batch, task)

    monkeypatch.setattr(encoder, "run", run)
    monkeypatch.setattr(encoder, "devices", [mini.device] * 2, raising=False)
    with serving("mini", default_task="classification"):
        tasks = (Task.RETRIEVAL_QUERY, Task.RETRIEVAL_PASSAGE, Task.CLASSIFICATION)
        assert sorted(ran) == sorted((task, device) for task in tasks for device in (0, 1))


def test_who_leaves_is_not_computed_for(mini: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = slow(mini, 0.2, monkeypatch)
    with serving("mini") as url:
        warm = encoder.tokens
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/v1/embeddings", json={**BODY, "input": ["yeast " * 1500] * 20}, timeout=0.3)
        deadline = time.monotonic() + 5
        while "taskvec_requests_held 0.0" not in (text := httpx.get(f"{url}/metrics").text):
            assert time.monotonic() < deadline
        assert "taskvec_waiting_tokens 0.0" in text
        assert encoder.tokens - warm < 5 * 1502
        assert 'status="499"' in text


def test_too_much_is_refused_with_the_seconds_to_wait(mini: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    slow(mini, 0.3, monkeypatch)

    async def run(url: str) -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            bodies = [{**BODY, "input": "yeast " * 1500} for _ in range(6)]
            return await asyncio.gather(*(client.post("/v1/embeddings", json=body) for body in bodies))

    with serving("mini", max_waiting_tokens=6200, patience=0.05) as url:
        answers = asyncio.run(run(url))
        assert {answer.status_code for answer in answers} == {200, 429}
        for answer in answers:
            if answer.status_code == 429:
                assert int(answer.headers["retry-after"]) >= 1
                assert "tokens wait already, 3100 may, and these are 1502 more" in answer.json()["error"]["message"]
        assert httpx.post(f"{url}/v1/embeddings", json=BODY).status_code == 200


def test_a_failure_of_the_encoder_is_500_without_details(
    mini: Encoder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = slow(mini, 0, monkeypatch)
    with serving("mini") as url:
        monkeypatch.setattr(encoder, "run", lambda *args, **kwargs: 1 / 0)
        answer = httpx.post(f"{url}/v1/embeddings", json=BODY)
        assert answer.status_code == 500
        assert "division" not in answer.text
        assert answer.json()["error"]["type"] == "server_error"
    assert "ZeroDivisionError" in caplog.text
    assert answer.headers["x-request-id"] in caplog.text


def test_the_log_has_a_line_for_a_request_and_no_texts(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "taskvec"):
        post(client, input="a very private text", task="classification")
        client.post("/v1/embeddings", json={**BODY, "input": "another private text", "dimensions": 0})
        time.sleep(0.1)
    lines = [record for record in caplog.records if hasattr(record, "facts")]
    assert [(line.facts["route"], line.facts["status"], line.facts["task"], line.facts["texts"]) for line in lines] == [
        ("/v1/embeddings", 200, "classification", 1),
        ("/v1/embeddings", 422, "", 0),
    ]
    for form in FORMATTERS.values():
        written = "\n".join(form.format(record) for record in caplog.records)
        assert "private" not in written
        assert lines[0].facts["id"] in written
    assert json.loads(FORMATTERS["json"].format(lines[0]))["tokens"] == lines[0].facts["tokens"] > 0


def test_metrics(client: httpx.Client) -> None:
    def value(name: str) -> float:
        lines = client.get("/metrics").text.splitlines()
        return float(next((line.split()[-1] for line in lines if line.startswith(name)), 0))

    route = 'taskvec_request_seconds_count{route="/v1/embeddings",status="200",task="separation"}'
    before = [value(name) for name in (route, 'taskvec_tokens_total{task="separation"}')]
    tokens = post(client, task="separation").json()["usage"]["total_tokens"]
    deadline = time.monotonic() + 5
    while value(route) != before[0] + 1:  # it is counted when the answer is out
        assert time.monotonic() < deadline
    assert value('taskvec_tokens_total{task="separation"}') == before[1] + tokens
    assert value('taskvec_queue_seconds_count{route="/v1/embeddings",task="separation"}') > 0
    for name in ("taskvec_queue_seconds_count", "taskvec_batch_fill_bucket", "taskvec_waiting_tokens", "process_resident_memory"):
        assert name in client.get("/metrics").text


def test_many_clients_at_once_get_their_own_vectors(url: str, mini: Encoder) -> None:
    """Tasks, sizes and lengths mixed, some late-chunked: each answer is the library's."""
    words = ["yeast", "bread", "sea", "moon", "light", "oxygen", "city", "river", "people", "physics"]
    rng = np.random.default_rng(0)

    def request(number: int) -> tuple[dict[str, Any], dict[str, Any]]:
        texts = [" ".join(rng.choice(words, rng.integers(1, 60))) for _ in range(rng.integers(1, 8))]
        options = {
            "task": str(rng.choice([*Task])),
            "dimensions": int(rng.integers(1, 385)),
            "late_chunking": bool(number % 3 == 0),
        }
        return {"model": "mini", "input": texts, **options}, options

    async def run() -> list[tuple[dict[str, Any], httpx.Response]]:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            asked = [request(number)[0] for number in range(60)]
            answers = await asyncio.gather(*(client.post("/v1/embeddings", json=body) for body in asked))
            return [*zip(asked, answers, strict=True)]

    for body, answer in asyncio.run(run()):
        options = {name: body[name] for name in ("task", "dimensions", "late_chunking")}
        got = np.array([row["embedding"] for row in answer.json()["data"]])
        np.testing.assert_allclose(got, mini.encode(body["input"], **options), atol=3e-6)
