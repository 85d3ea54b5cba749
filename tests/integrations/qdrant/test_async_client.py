"""The async client: the event loop goes on while a thread encodes, and cancelling ends the work."""

import asyncio
import contextlib
import logging
import time
from typing import Any

import pytest
from qdrant_client import models

from support.event_loop import TICK, longest_gap
from support.qdrant.points import COLLECTION, QUESTION, WIDTH, assert_equal, document, points
from support.qdrant.server import Server
from taskvec import Encoder
from taskvec_integrations.qdrant import AsyncTaskvecQdrantClient
from taskvec_integrations.qdrant import embed as resolve

PAUSE = 0.6  # seconds that encoding is made to take

Client = AsyncTaskvecQdrantClient


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoding that holds its thread for a while."""
    encode = resolve.encode

    def slowly(requests: Any) -> Any:
        time.sleep(PAUSE)
        return encode(requests)

    monkeypatch.setattr(resolve, "encode", slowly)


async def created(client: Client) -> Client:
    await client.create_collection(COLLECTION, models.VectorParams(size=WIDTH, distance=models.Distance.COSINE))
    await client.upsert(COLLECTION, [models.PointStruct(id=0, vector=[1.0] * WIDTH)])
    return client


CALLS = {
    "upsert": lambda client: client.upsert(COLLECTION, points()),
    "update_vectors": lambda client: client.update_vectors(COLLECTION, [models.PointVectors(id=0, vector=document("a"))]),
    "batch": lambda client: client.batch_update_points(
        COLLECTION, [models.UpsertOperation(upsert=models.PointsList(points=points()))]
    ),
    "aupload_points": lambda client: client.aupload_points(COLLECTION, points()),
    "aupload_collection": lambda client: client.aupload_collection(COLLECTION, [document("a")], ids=[0]),
    "query_points": lambda client: client.query_points(COLLECTION, document(QUESTION)),
    "query_batch": lambda client: client.query_batch_points(COLLECTION, [models.QueryRequest(query=document(QUESTION))]),
}


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("place", ["memory", "server"])
def test_the_event_loop_goes_on_while_encoding(place: str, call: str, mini: Encoder, server: Server) -> None:
    where = {"location": ":memory:"} if place == "memory" else {"url": server.url}

    async def run() -> float:
        client = await created(Client(**where, encoder=mini))
        gap = await longest_gap(CALLS[call](client))
        await client.close()
        return gap

    assert asyncio.run(run()) < PAUSE / 2


@pytest.mark.usefixtures("slow")
def test_the_upload_of_qdrants_async_client_blocks_and_says_so(
    mini: Encoder, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """It is no coroutine there, so code written for it must find everything uploaded when it returns."""

    async def run() -> tuple[float, int]:
        client = await created(Client(url=server.url, encoder=mini))

        async def upload() -> None:
            client.upload_points(COLLECTION, points(), wait=True)

        gap = await longest_gap(upload())
        found = (await client.query_points(COLLECTION, document(QUESTION))).points
        await client.close()
        return gap, len(found)

    with caplog.at_level(logging.WARNING, "taskvec"):
        gap, found = asyncio.run(run())
    assert found == 4
    assert gap > PAUSE
    assert [record.getMessage() for record in caplog.records] == [
        "upload_points blocks the event loop until everything is encoded and sent: await aupload_points instead"
    ]


def test_cancelling_ends_the_encoding(mini: Encoder) -> None:
    texts = [" ".join(f"word{i * j}" for j in range(100)) for i in range(60)]
    mini.encode_documents(texts[:1])

    async def run(seconds: float | None) -> float:
        """Until the thread is done, too."""
        client = await created(Client(":memory:", encoder=mini))
        start = time.perf_counter()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(client.upsert(COLLECTION, points(texts)), seconds)
        await asyncio.get_running_loop().shutdown_default_executor()
        taken = time.perf_counter() - start
        count = (await client.count(COLLECTION)).count
        assert count == (60 if seconds is None else 1)
        await client.close()
        return taken

    whole = asyncio.run(run(None))
    assert asyncio.run(run(whole / 10)) < whole / 2


def test_cancelling_ends_an_upload(mini: Encoder, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve, "BLOCK", 4)
    texts = [" ".join(f"word{i * j}" for j in range(50)) for i in range(400)]

    async def run() -> int:
        client = await created(Client(url=server.url, encoder=mini))
        task = asyncio.create_task(client.aupload_points(COLLECTION, iter(points(texts)), batch_size=4))
        while len(server.requests) < 4:
            await asyncio.sleep(TICK)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.get_running_loop().shutdown_default_executor()
        await client.close()
        return len(server.requests)

    assert asyncio.run(run()) < 30  # of a hundred


def test_many_searches_at_once_get_their_own_answers(mini: Encoder) -> None:
    async def run() -> list[float]:
        client = await created(Client(":memory:", encoder=mini))
        texts = [f"text number {i}" for i in range(40)]
        await client.upsert(COLLECTION, points(texts))
        found = await asyncio.gather(*(client.query_points(COLLECTION, document(text, task="auto"), limit=1) for text in texts))
        scores = [answer.points[0].score for answer in found]
        await client.close()
        return scores

    texts = [f"text number {i}" for i in range(40)]
    assert_equal(asyncio.run(run()), (mini.encode_queries(texts) @ mini.encode_documents(texts).T).max(axis=1))
