"""The async client: the event loop goes on while a thread encodes, and cancelling ends the work."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from qdrant_client import models

from support.encoding_pause import EncodingPause
from support.qdrant.edge_server import EdgeServer
from support.qdrant.points import COLLECTION, QUESTION, WIDTH, assert_equal, document, points
from taskvec import Encoder
from taskvec_integrations.qdrant import AsyncTaskvecQdrantClient, embed

Client = AsyncTaskvecQdrantClient

TIMEOUT_SECONDS = 120
"""A guard against hanging; Qdrant's own 5 seconds for a call are too few on a busy machine."""


async def created(client: Client) -> Client:
    await client.create_collection(COLLECTION, models.VectorParams(size=WIDTH, distance=models.Distance.COSINE))
    await client.upsert(COLLECTION, [models.PointStruct(id=0, vector=[1.0] * WIDTH)])
    return client


CALLS: dict[str, Callable[[Client], Coroutine[Any, Any, Any]]] = {
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


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("place", ["memory", "server"])
def test_the_event_loop_goes_on_while_encoding(
    place: str, call: str, mini: Encoder, server: EdgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = {"location": ":memory:"} if place == "memory" else {"url": server.url}

    async def run() -> None:
        client = await created(Client(**where, encoder=mini, timeout=TIMEOUT_SECONDS))
        pause = EncodingPause(monkeypatch)
        calling = asyncio.create_task(CALLS[call](client))
        await pause.wait_until_encoding()
        pause.end()
        await calling
        await client.close()

    asyncio.run(run())


def test_the_upload_of_qdrants_async_client_blocks_and_says_so(
    mini: Encoder, server: EdgeServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It is no coroutine there, so code written for it must find everything uploaded when it returns."""

    async def run() -> None:
        client = await created(Client(url=server.url, encoder=mini, timeout=TIMEOUT_SECONDS))
        loop_went_on = asyncio.Event()
        asyncio.get_running_loop().call_soon(loop_went_on.set)
        client.upload_points(COLLECTION, points(), wait=True)
        assert not loop_went_on.is_set()
        assert len((await client.query_points(COLLECTION, document(QUESTION))).points) == 4
        await client.close()

    with caplog.at_level(logging.WARNING, "taskvec"):
        asyncio.run(run())
    assert [record.getMessage() for record in caplog.records] == [
        "upload_points blocks the event loop until everything is encoded and sent: await aupload_points instead"
    ]


def test_cancelling_ends_the_encoding(mini: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        client = await created(Client(":memory:", encoder=mini))
        pause = EncodingPause(monkeypatch)
        task = asyncio.create_task(client.upsert(COLLECTION, points()))
        await pause.wait_until_encoding()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        pause.end()
        await asyncio.get_running_loop().shutdown_default_executor()
        assert [type(error) for error in pause.errors] == [asyncio.CancelledError]
        assert (await client.count(COLLECTION)).count == 1  # the point that was there
        await client.close()

    asyncio.run(run())


def test_cancelling_ends_an_upload(mini: Encoder, server: EdgeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "BLOCK_POINTS", 4)
    read: list[models.PointStruct] = []
    reading, cancelled = threading.Event(), threading.Event()

    def wait_after_16() -> Iterator[models.PointStruct]:
        for point in points([f"text {i}" for i in range(400)]):
            if len(read) == 16:
                reading.set()
                assert cancelled.wait(TIMEOUT_SECONDS)
            read.append(point)
            yield point

    async def run() -> None:
        client = await created(Client(url=server.url, encoder=mini, timeout=TIMEOUT_SECONDS))
        task = asyncio.create_task(client.aupload_points(COLLECTION, wait_after_16(), batch_size=4))
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not reading.is_set():
                await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        cancelled.set()
        await asyncio.get_running_loop().shutdown_default_executor()
        await client.close()

    asyncio.run(run())
    assert len(read) <= 20  # at most one more block


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
