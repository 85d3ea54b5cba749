"""What is particular to QdrantStore: the collection it creates, the size of requests, kinds of clients."""

import asyncio
import threading
from typing import Any

import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from support.qdrant.http import StubQdrant
from taskvec import Encoder
from taskvec_integrations.ingestion.points import Record
from taskvec_integrations.qdrant import QdrantStore
from taskvec_integrations.qdrant.backend import QdrantBackend

TEXTS = [(number, f"text {number}") for number in range(40)]


def test_the_collection_is_made_as_described(stub: StubQdrant, stub_client: QdrantClient, short: Encoder) -> None:
    store = QdrantStore(stub_client, "docs", encoder=short, dimensions=16, datatype="float16", document_task="separation")
    store.ingest([])
    config = stub.client.get_collection("docs").config
    assert config.params.vectors == models.VectorParams(
        size=16, distance=models.Distance.COSINE, datatype=models.Datatype.FLOAT16
    )
    found = QdrantBackend(stub_client, "docs", "", "float32").find()
    assert found
    assert found.record == Record(short.fingerprint, 16, "separation", late_chunking=False)
    assert stub.indexed == ["document_id"]


def test_requests_are_bounded_in_bytes(
    stub: StubQdrant, stub_client: QdrantClient, short: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QdrantBackend, "max_batch_bytes", 20_000)
    documents = [(number, f"ü{number} " * 40) for number in range(60)]
    QdrantStore(stub_client, "docs", encoder=short).ingest(documents)
    sizes = [size for what, size in stub.requests if what == "upsert"]
    assert max(sizes) <= 20_000
    assert len(sizes) <= 2 * 60 * 1100 / 20_000 + 1  # and not much smaller than they may be


def test_uint8_is_refused_with_the_reason(short: Encoder) -> None:
    client = QdrantClient(":memory:")
    with pytest.raises(ValueError, match=r"datatype is 'uint8': use float32 or float16 .uint8 keeps only whole numbers"):
        QdrantStore(client, "docs", encoder=short, datatype="uint8")  # type: ignore[arg-type]
    client.close()


def test_what_is_not_a_client_is_refused(short: Encoder) -> None:
    with pytest.raises(TypeError, match="client is 'http://localhost': a QdrantClient or AsyncQdrantClient was expected"):
        QdrantStore("http://localhost", "docs", encoder=short)  # type: ignore[arg-type]


def test_an_async_client_asks_for_the_async_methods(short: Encoder) -> None:
    client = AsyncQdrantClient(":memory:")
    with pytest.raises(RuntimeError, match="this store has an AsyncQdrantClient: use aingest and asearch"):
        QdrantStore(client, "docs", encoder=short).ingest(TEXTS)
    asyncio.run(client.close())


def test_an_async_client_over_http_leaves_the_loop_free(stub: StubQdrant, short: Encoder) -> None:
    writing, written = threading.Event(), threading.Event()

    def trouble(what: str, body: Any) -> None:
        if what == "upsert":
            writing.set()
            assert written.wait(120), "the event loop is blocked"

    async def run() -> list[str]:
        client = AsyncQdrantClient(stub.url, check_compatibility=False, timeout=120)
        store = QdrantStore(client, "docs", encoder=short)
        stub.trouble = trouble
        ingesting = asyncio.create_task(store.aingest(TEXTS))
        async with asyncio.timeout(120):
            while not writing.is_set():
                await asyncio.sleep(0.01)
        written.set()
        assert (await ingesting).chunks.written == 40
        hits = await asyncio.gather(*(store.asearch(text, 1) for _, text in TEXTS[:5]))
        await client.close()
        return [hit.text for (hit,) in hits]

    assert len(asyncio.run(run())) == 5
