"""The event loop stays free while a thread loads and encodes, and cancelling ends the work."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Document

from support.llama_index_texts import PatternSplitter, articles
from support.loop_probe import DEADLINE_SECONDS, LoopProbe
from taskvec import Encoder
from taskvec.model import Transformer
from taskvec_integrations import lazy_encoder
from taskvec_integrations.llama_index import TaskvecEmbedding, embedding

Make = Callable[..., TaskvecEmbedding]

CALLS: dict[str, Callable[[TaskvecEmbedding], Coroutine[Any, Any, Any]]] = {
    "query": lambda model: model.aget_query_embedding("a"),
    "text": lambda model: model.aget_text_embedding("a"),
    "texts": lambda model: model.aget_text_embedding_batch(["a", "b"]),
    "nodes": lambda model: model.acall(PatternSplitter()(articles())),
}


@pytest.mark.parametrize("late", [False, True], ids=["each", "late"])
@pytest.mark.parametrize("call", CALLS)
def test_loading_and_encoding_leave_the_loop_alone(call: str, late: bool, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = LoopProbe(monkeypatch)
    probe.watch(lazy_encoder, "shared_encoder")
    probe.watch(embedding, "group_nodes")
    probe.watch(Encoder, "encode")
    probe.watch(Encoder, "encode_spans")
    probe.run(CALLS[call](make(late_chunking=late)))
    late_steps = ["group_nodes", "shared_encoder", "encode_spans"]
    assert probe.answered == (late_steps if late and call == "nodes" else ["shared_encoder", "encode"])


@pytest.mark.parametrize("late", [False, True], ids=["each", "late"])
def test_cancelling_ends_the_work(late: bool, short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started, cancelled = threading.Event(), threading.Event()
    batches: list[int] = []
    forward = Transformer.__call__

    def wait_for_cancelling(self: Transformer, *args: Any) -> Any:
        batches.append(len(batches))
        started.set()
        assert cancelled.wait(DEADLINE_SECONDS)
        return forward(self, *args)

    async def main(model: TaskvecEmbedding) -> None:
        work = asyncio.create_task(model.acall(nodes))
        assert await asyncio.to_thread(started.wait, DEADLINE_SECONDS)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        cancelled.set()

    nodes = PatternSplitter()([Document(text="One of many. " * 1000)])
    with Encoder.from_pretrained(short_folder, dtype="float32", device="cpu", max_batch_tokens=64) as encoder:
        model = TaskvecEmbedding(encoder=encoder, late_chunking=late, embed_batch_size=1000)
        monkeypatch.setattr(Transformer, "__call__", wait_for_cancelling)
        asyncio.run(main(model))  # ends when the threads have
    assert len(batches) < 10  # of more than 50
    assert nodes[-1].embedding is None
