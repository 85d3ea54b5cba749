"""What LlamaIndex is told while texts are embedded, just as BaseEmbedding tells it: instrumentation events and callbacks."""

from collections.abc import Iterator
from contextlib import contextmanager

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.callbacks.schema import CBEventType, EventPayload
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index_instrumentation import get_dispatcher

dispatcher = get_dispatcher(__name__)


@contextmanager
def announced(embedding: BaseEmbedding, texts: list[str]) -> Iterator[list[Embedding]]:
    """Announce the start and the end of embedding texts; the list that comes is for their vectors."""
    model, vectors = embedding.to_payload(), list[Embedding]()
    dispatcher.event(EmbeddingStartEvent(model_dict=model))
    with embedding.callback_manager.event(CBEventType.EMBEDDING, payload={EventPayload.SERIALIZED: model}) as event:
        yield vectors
        event.on_end(payload={EventPayload.CHUNKS: texts, EventPayload.EMBEDDINGS: vectors})
    dispatcher.event(EmbeddingEndEvent(chunks=texts, embeddings=vectors))
