"""What LlamaIndex hears while texts are embedded, just as BaseEmbedding announces it: instrumentation events and callbacks."""

from collections.abc import Iterator
from contextlib import contextmanager

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.callbacks.schema import CBEventType, EventPayload
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index_instrumentation import get_dispatcher

dispatcher = get_dispatcher(__name__)


@contextmanager
def embedding_events(embedding: BaseEmbedding, texts: list[str]) -> Iterator[list[Embedding]]:
    """Announce the start and the end of embedding texts.

    Args:
        embedding: Who embeds.
        texts: What is embedded.

    Yields:
        An empty list, to be filled with the vectors of `texts` before the block ends.
    """
    model = embedding.to_payload()
    vectors: list[Embedding] = []
    dispatcher.event(EmbeddingStartEvent(model_dict=model))
    with embedding.callback_manager.event(CBEventType.EMBEDDING, payload={EventPayload.SERIALIZED: model}) as event:
        yield vectors
        event.on_end(payload={EventPayload.CHUNKS: texts, EventPayload.EMBEDDINGS: vectors})
    dispatcher.event(EmbeddingEndEvent(chunks=texts, embeddings=vectors))
