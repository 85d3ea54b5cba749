"""The service behind the routes: warm before it listens, many clients at once, clients that leave, too much at once."""

import asyncio
import json
from typing import Any

import httpx
import numpy as np
import pytest

from support.server.app import serving
from support.server.held_encoder import HeldMini
from support.server.raw_http import send_raw
from support.server.waiting import GUARD_SECONDS, metric, wait_for_metric
from taskvec import Encoder, Task
from taskvec.packing import Batch

BODY = {"model": "mini", "input": ["Bread rises."], "dimensions": 8}


@pytest.fixture
def held(mini: Encoder, monkeypatch: pytest.MonkeyPatch) -> HeldMini:
    """A stand-in that `create_app` takes for an Encoder."""
    encoder = HeldMini(mini)
    monkeypatch.setattr("taskvec_integrations.lazy_encoder.LazyEncoder.get", lambda self: encoder)
    return encoder


def test_it_is_warm_before_it_listens(held: HeldMini, mini: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each task that requests have unless they name one, the default one too, was run on every device."""
    ran: list[tuple[Task | None, int]] = []

    def run(batch: Batch, task: Task | None, *, device: int = 0) -> Any:
        ran.append((task, device))
        return mini.run(batch, task)

    monkeypatch.setattr(held, "run", run)
    monkeypatch.setattr(held, "devices", [mini.device] * 2, raising=False)
    with serving("mini", default_task="classification"):
        tasks = (Task.RETRIEVAL_QUERY, Task.RETRIEVAL_PASSAGE, Task.CLASSIFICATION)
        assert sorted(ran) == sorted((task, device) for task in tasks for device in (0, 1))


def test_nothing_is_computed_for_a_client_that_left(held: HeldMini) -> None:
    with serving("mini") as url:
        warm, held.held = held.tokens, True
        body = json.dumps({**BODY, "input": ["yeast " * 1500] * 20}).encode()
        connection = send_raw(url, f"Content-Length: {len(body)}", body)
        held.gate.wait()
        assert metric(url, "taskvec_waiting_tokens") > 0
        connection.close()
        wait_for_metric(url, "taskvec_requests_held", 0)
        assert metric(url, "taskvec_waiting_tokens") == 0
        assert metric(url, 'taskvec_request_seconds_count{route="/v1/embeddings",status="499",task=""}') == 1
        held.gate.let()
        assert httpx.post(f"{url}/v1/embeddings", json=BODY, timeout=GUARD_SECONDS).status_code == 200
        assert 1502 <= held.tokens - warm < 5 * 1502  # the batch that ran already, and the later request


def test_too_much_is_refused_with_the_seconds_to_wait(held: HeldMini) -> None:
    body = {**BODY, "input": "yeast " * 1500}

    async def run(url: str) -> list[httpx.Response]:
        """One request runs, and of five more two have room."""
        async with httpx.AsyncClient(base_url=url, timeout=GUARD_SECONDS) as client:
            first = asyncio.ensure_future(client.post("/v1/embeddings", json=body))
            await asyncio.to_thread(held.gate.wait)
            others = [asyncio.ensure_future(client.post("/v1/embeddings", json=body)) for _ in range(5)]
            for refused in asyncio.as_completed(others):
                await refused
                if sum(other.done() for other in others) == 3:
                    break
            held.gate.let()
            return list(await asyncio.gather(first, *others))

    with serving("mini", max_waiting_tokens=6200, patience=0.05) as url:
        held.held = True
        responses = asyncio.run(run(url))
        assert sorted(response.status_code for response in responses) == [200, 200, 200, 429, 429, 429]
        for response in responses:
            if response.status_code == 429:
                assert int(response.headers["retry-after"]) >= 1
                sentence = "3004 tokens wait for the encoder, the limit is 3100, and this request has 1502 more: try again in"
                assert sentence in response.json()["error"]["message"]
        assert httpx.post(f"{url}/v1/embeddings", json=BODY, timeout=GUARD_SECONDS).status_code == 200


def test_many_clients_at_once_get_their_own_vectors(url: str, mini: Encoder) -> None:
    """Tasks, sizes and lengths mixed, some late-chunked: each response is the library's."""
    words = ["yeast", "bread", "sea", "moon", "light", "oxygen", "city", "river", "people", "physics"]
    rng = np.random.default_rng(0)

    def request(number: int) -> dict[str, Any]:
        texts = [" ".join(rng.choice(words, rng.integers(1, 60))) for _ in range(rng.integers(1, 8))]
        return {
            "model": "mini",
            "input": texts,
            "task": str(rng.choice([*Task])),
            "dimensions": int(rng.integers(1, 385)),
            "late_chunking": number % 3 == 0,
        }

    async def run() -> list[tuple[dict[str, Any], httpx.Response]]:
        async with httpx.AsyncClient(base_url=url, timeout=GUARD_SECONDS) as client:
            bodies = [request(number) for number in range(60)]
            responses = await asyncio.gather(*(client.post("/v1/embeddings", json=body) for body in bodies))
            return [*zip(bodies, responses, strict=True)]

    for body, response in asyncio.run(run()):
        options = {name: body[name] for name in ("task", "dimensions", "late_chunking")}
        vectors = np.array([row["embedding"] for row in response.json()["data"]])
        np.testing.assert_allclose(vectors, mini.encode(body["input"], **options), atol=3e-6)
