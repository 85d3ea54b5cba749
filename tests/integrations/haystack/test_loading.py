"""The life of a component: loaded when needed, once for all, in threads and beside an event loop, and closed."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from haystack import Document

from haystack_integrations.components.embedders.taskvec import TaskvecTextEmbedder
from support.haystack_texts import QUESTION, embed_one
from support.loop_probe import LoopProbe
from taskvec import Encoder
from taskvec_integrations import lazy_encoder

Make = Callable[..., Any]


def test_nothing_is_loaded_before_it_is_needed() -> None:
    TaskvecTextEmbedder("/no/such/folder").to_dict()
    with pytest.raises(FileNotFoundError, match="there is no model folder /no/such/folder"):
        TaskvecTextEmbedder("/no/such/folder").warm_up()


def test_one_model_for_all_and_its_memory_goes_with_the_last(make: Make) -> None:
    alone = {"max_batch_tokens": 8191}  # an encoder that no other test holds
    first, second, other = make("text", **alone), make("documents", **alone), make("text", dtype="bfloat16")
    for embedder in (first, second, other):
        embedder.warm_up()
        embedder.warm_up()
    encoder = first._lazy.get()
    assert encoder is second._lazy.get()
    assert encoder is not other._lazy.get()
    first.close()
    first.close()
    assert second.run([Document(content="a")])["documents"]
    second.close()
    with pytest.raises(RuntimeError, match="is closed"):
        encoder.encode("a")
    assert embed_one(first)[0].shape == (384,)


def test_threads_that_load_at_once_hold_the_model_once(make: Make) -> None:
    embedder = make("text", max_batch_tokens=8191)  # an encoder that no other test holds
    start = threading.Barrier(8)

    def cold(_: int) -> Any:
        start.wait()
        return embedder.run(QUESTION)["embedding"]

    with ThreadPoolExecutor(8) as executor:
        vectors = list(executor.map(cold, range(8)))
    assert all(vector == vectors[0] for vector in vectors)
    encoder = embedder._lazy.get()
    embedder.close()
    with pytest.raises(RuntimeError, match="is closed"):
        encoder.encode("a")


def test_async_methods_leave_the_event_loop_free(make: Make, mini: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = LoopProbe(monkeypatch)
    probe.watch(lazy_encoder, "shared_encoder")
    probe.watch(Encoder, "encode")
    probe.watch(Encoder, "close")

    async def main() -> tuple[Any, Any]:
        queries, documents = make("text"), make("documents")
        await queries.warm_up_async()
        query, document = await asyncio.gather(queries.run_async(QUESTION), documents.run_async([Document(content=QUESTION)]))
        await queries.close_async()
        await documents.close_async()
        return query["embedding"], document["documents"][0].embedding

    query, document = probe.run(main())
    assert set(probe.answered) == {"shared_encoder", "encode", "close"}
    assert [probe.answered.count(name) for name in ("shared_encoder", "close")] == [2, 2]
    monkeypatch.undo()
    np.testing.assert_allclose(query, mini.encode_queries(QUESTION), atol=1e-6)
    np.testing.assert_allclose(document, mini.encode_documents(QUESTION), atol=1e-6)
