"""The event loop goes on while a thread loads and encodes, and cancelling ends the work."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from llama_index.core import Document

from support.event_loop import longest_gap
from support.llama_index_texts import Pieces, articles
from taskvec import Encoder
from taskvec.runner import Runner
from taskvec_integrations import options
from taskvec_integrations.llama_index import TaskvecEmbedding, embedding

Make = Callable[..., TaskvecEmbedding]

PAUSE = 0.2  # seconds that each step is made to take

CALLS: dict[str, Callable[[TaskvecEmbedding], Coroutine[Any, Any, Any]]] = {
    "query": lambda model: model.aget_query_embedding("a"),
    "text": lambda model: model.aget_text_embedding("a"),
    "texts": lambda model: model.aget_text_embedding_batch(["a", "b"]),
    "nodes": lambda model: model.acall(Pieces()(articles())),
}


def slow(function: Callable[..., Any]) -> Callable[..., Any]:
    def slowly(*args: Any, **kwargs: Any) -> Any:
        time.sleep(PAUSE)
        return function(*args, **kwargs)

    return slowly


@pytest.mark.parametrize("late", [False, True], ids=["each", "late"])
@pytest.mark.parametrize("call", CALLS)
def test_loading_and_encoding_leave_the_loop_alone(call: str, late: bool, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "shared_encoder", slow(options.shared_encoder))
    monkeypatch.setattr(embedding, "read_sources", slow(embedding.read_sources))
    monkeypatch.setattr(Encoder, "encode", slow(Encoder.encode))
    monkeypatch.setattr(Encoder, "encode_spans", slow(Encoder.encode_spans))
    start = time.perf_counter()
    gap = asyncio.run(longest_gap(CALLS[call](make(late_chunking=late))))
    assert time.perf_counter() - start > 2 * PAUSE
    assert gap < PAUSE / 2


@pytest.mark.parametrize("late", [False, True], ids=["each", "late"])
def test_cancelling_ends_the_work(late: bool, short: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    model = TaskvecEmbedding(encoder=short, late_chunking=late, embed_batch_size=1000)
    batches: list[float] = []
    run = Runner.run

    def counted(self: Runner, *args: Any) -> Any:
        batches.append(time.perf_counter())
        time.sleep(0.01)
        return run(self, *args)

    monkeypatch.setattr(Runner, "run", counted)
    nodes = Pieces()([Document(text="One of many. " * 4000)])

    async def main() -> None:
        work = asyncio.create_task(model.acall(nodes))
        while not batches:
            await asyncio.sleep(0.001)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        await asyncio.sleep(0.1)
        seen = len(batches)
        await asyncio.sleep(0.1)
        assert len(batches) == seen

    asyncio.run(main())
    assert nodes[-1].embedding is None
