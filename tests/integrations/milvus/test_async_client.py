"""What is particular to the async client: milvus-lite creates no collection for it, and the event loop stays free."""

import asyncio

import pytest
from pymilvus import (
    MilvusClient,
)

from support.encoding_pause import EncodingPause
from support.milvus.checks import DIMENSIONS, QUESTIONS, ROWS, AnyClient
from taskvec import Encoder
from taskvec_integrations.milvus import AsyncTaskvecMilvusClient, TextCollection


def test_an_async_client_makes_no_collection_on_milvus_lite(plain: MilvusClient, mini: Encoder, uri: str, name: str) -> None:
    any_client = AnyClient(AsyncTaskvecMilvusClient, uri, encoder=mini, text_field="text")
    with pytest.raises(
        NotImplementedError, match=r"milvus-lite .* create it with TextCollection.create and a MilvusClient of the same file"
    ):
        any_client.create(TextCollection(DIMENSIONS), name)
    assert not plain.has_collection(name)
    TextCollection(DIMENSIONS).create(plain, name, consistency_level="Strong")
    any_client.insert(name, ROWS)
    assert [hit["id"] for hit in any_client.search(name, [QUESTIONS[0]], limit=1)[0]] == ["bread"]
    any_client.close()


def test_the_event_loop_goes_on_while_texts_are_encoded(
    plain: MilvusClient, mini: Encoder, uri: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    TextCollection(DIMENSIONS).create(plain, name, consistency_level="Strong")
    pause = EncodingPause(monkeypatch)

    async def main() -> None:
        client = AsyncTaskvecMilvusClient(uri, encoder=mini, text_field="text")
        calls = asyncio.gather(client.insert(name, ROWS), client.search(name, ["a"]))
        await pause.wait_until_encoding()
        pause.end()
        await calls
        await client.close()

    asyncio.run(main())
