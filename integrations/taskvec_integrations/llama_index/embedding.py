"""TaskvecEmbedding: LlamaIndex's embedding model and transformation over our encoder. Knows which text has which task."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from functools import partial
from threading import Event
from typing import Any, Self, cast

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode
from llama_index.core.utils import get_tqdm_iterable

from taskvec import EncodeOptions
from taskvec_integrations.lazy_encoder import LazyEncoder
from taskvec_integrations.llama_index.cache import KeyedStore, Operation, keyed
from taskvec_integrations.llama_index.events import announced
from taskvec_integrations.llama_index.node_groups import Batch, Source, batches, read_sources
from taskvec_integrations.llama_index.settings import LOADING, OF_THIS_PROCESS, EmbeddingSettings
from taskvec_integrations.task_choice import EmbedSettings

log = logging.getLogger("taskvec")


class TaskvecEmbedding(EmbeddingSettings):
    """jina-embeddings-v3 on your own hardware as LlamaIndex's `embed_model`: passages are stored, queries ask.

    model_name: a hub id, a local folder or "mini"; loaded when it is first needed, once per process for equal settings.
    encoder: an Encoder instead, which stays open. revision, device, dtype, max_batch_tokens, max_bodies, merge_adapters,
    cache_dir, local_files_only, token: as in `Encoder.from_pretrained`. dimensions: None is the model's full width.
    document_task, query_task: another task than retrieval.passage and retrieval.query, None for the bare model.

    late_chunking: the chunks of a document share its context. That takes the documents, so use the embedding as a
    transformation, `transformations=[splitter, embedding]`, in an IngestionPipeline or an index: nodes are grouped by
    `ref_doc_id`, those without one are embedded alone. Metadata that the nodes of a document
    share is context for all and part of no vector. The same object is the index's `embed_model`, too: it embeds the queries,
    and of the nodes only those without an embedding. A pipeline with `num_workers` divides what it is given among processes: give
    it documents, not their nodes.

    Unknown settings and unknown tasks are a ValidationError, dimensions beyond the model's a ValueError when it is used.
    """

    _lazy: LazyEncoder = PrivateAttr()
    _warned: Event = PrivateAttr(default_factory=Event)

    @classmethod
    def class_name(cls) -> str:
        """What dumps call it."""
        return "TaskvecEmbedding"

    def model_post_init(self, context: Any, /) -> None:
        """Note what to load, and load nothing."""
        arguments = {name: getattr(self, name) for name in LOADING}
        token = self.token.get_secret_value if self.token else None
        self._lazy = LazyEncoder(self.encoder or self.model_name, {**arguments, "token": token})

    def to_payload(self) -> dict[str, Any]:
        """What events say of the model."""
        names = ("document_task", "query_task", "dimensions", "late_chunking")
        return super().to_payload() | {name: getattr(self, name) for name in names}

    def token_count(self, text: str) -> range:
        """As long as the text has tokens of this model: `SentenceSplitter(tokenizer=embedding.token_count)` downloads none."""
        return range(self._lazy.get().count_tokens(text)[0] - 2)  # without <s> and </s>

    def close(self) -> None:
        """Let go of a model that was loaded by name, which is freed when all have; it is loaded again when it is needed."""
        self._lazy.close()

    # BaseEmbedding asks these for texts that its cache does not have.

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._encode([query], "query")[0]

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return (await self._aencode([query], "query"))[0]

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._encode([text], "document")[0]

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return (await self._aencode([text], "document"))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        self._warn_of_texts_alone()
        return self._encode(texts, "document")

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        self._warn_of_texts_alone()
        return await self._aencode(texts, "document")

    # Its public methods, each with the cache of its own task.

    get_query_embedding = keyed(BaseEmbedding.get_query_embedding, "query")
    aget_query_embedding = keyed(BaseEmbedding.aget_query_embedding, "query")
    get_text_embedding = keyed(BaseEmbedding.get_text_embedding, "document")
    aget_text_embedding = keyed(BaseEmbedding.aget_text_embedding, "document")
    get_text_embedding_batch = keyed(BaseEmbedding.get_text_embedding_batch, "document")
    aget_text_embedding_batch = keyed(BaseEmbedding.aget_text_embedding_batch, "document")

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Give nodes their embeddings, in place; `show_progress=True` draws a bar."""
        if not self.late_chunking:
            return super().__call__(nodes, **kwargs)
        for batch in self._batches(read_sources(nodes), **kwargs):
            with announced(self, batch.texts) as embeddings:
                encoder = self._lazy.get()
                embeddings += batch.keep(encoder.encode_spans(*batch.documents, **self._options("document")))
        return nodes

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """`__call__` in threads; cancelling it ends the work at the next batch of the encoder."""
        if not self.late_chunking:
            return await super().acall(nodes, **kwargs)
        for batch in self._batches(await asyncio.to_thread(read_sources, nodes), **kwargs):
            with announced(self, batch.texts) as embeddings:
                encoder = await asyncio.to_thread(self._lazy.get)
                embeddings += batch.keep(await encoder.aencode_spans(*batch.documents, **self._options("document")))
        return nodes

    def _batches(self, sources: Sequence[Source], show_progress: bool = False, **_: Any) -> Iterable[Batch]:
        """Whole documents, about `embed_batch_size` nodes at a time. LlamaIndex hands all transformations the same arguments."""
        return get_tqdm_iterable(batches(sources, self.embed_batch_size), show_progress, "Generating embeddings")

    def _encode(self, texts: Sequence[str], operation: Operation) -> list[Embedding]:
        vectors = self._lazy.get().encode(texts, **self._options(operation))
        return cast(list[Embedding], vectors.tolist())

    async def _aencode(self, texts: Sequence[str], operation: Operation) -> list[Embedding]:
        encoder = await asyncio.to_thread(self._lazy.get)
        return cast(list[Embedding], (await encoder.aencode(texts, **self._options(operation))).tolist())

    def _options(self, operation: Operation) -> EncodeOptions:
        task = EmbedSettings(self.document_task, self.query_task).task(operation)
        return {"task": task, "dimensions": self.dimensions}

    def _keyed(self, operation: Operation) -> Self:
        """This embedding with a cache that cannot give the vector of another model, task or width; see `keyed`."""
        if self.embeddings_cache is None:
            return self
        return self.model_copy(
            update={"embeddings_cache": KeyedStore(self.embeddings_cache, partial(self._namespace, operation))}
        )

    def _namespace(self, operation: Operation) -> str:
        encoder, options = self._lazy.get(), self._options(operation)
        return f"{encoder.fingerprint} {encoder.dtype} {options['task']} {options['dimensions'] or encoder.dimensions}"

    def _warn_of_texts_alone(self) -> None:
        """Say it once where late chunking was asked for and cannot be: an index or a splitter sends texts without documents."""
        if self.late_chunking and not self._warned.is_set():
            self._warned.set()
            log.warning(
                "taskvec: late_chunking takes the documents, and here came texts alone, which were embedded each on its own: "
                "put the embedding into transformations=[splitter, embedding], and give a semantic splitter one without it"
            )

    def __getstate__(self) -> dict[str, Any]:
        # BaseComponent's own deletes what cannot be pickled from this very object.
        return {"__dict__": {name: value for name, value in self.__dict__.items() if name not in OF_THIS_PROCESS}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state["__dict__"])  # type: ignore[misc]

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self.model_copy()  # settings are values, and an encoder counts a copy as one more holder, whom nobody would close
