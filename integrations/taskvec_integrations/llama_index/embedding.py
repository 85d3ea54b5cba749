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
from taskvec_integrations.llama_index.cache import NamespaceStore, Operation, with_safe_cache
from taskvec_integrations.llama_index.events import embedding_events
from taskvec_integrations.llama_index.node_groups import NodeGroup, NodeGroupBatch, batch_groups, group_nodes
from taskvec_integrations.llama_index.settings import LOAD_FIELDS, UNPICKLED_FIELDS, EmbeddingSettings
from taskvec_integrations.task_choice import EmbedSettings

log = logging.getLogger("taskvec")


class TaskvecEmbedding(EmbeddingSettings):
    """jina-embeddings-v3 on your own hardware as LlamaIndex's `embed_model`: passages are stored, queries ask.

    The model is loaded when it is first needed, once per process for equal settings.

    Late chunking, by which the chunks of a document share its context, takes the documents. So use the embedding as a
    transformation, `transformations=[splitter, embedding]`, in an IngestionPipeline or an index. Nodes are grouped by
    `ref_doc_id`; those without one are embedded alone. Metadata that the nodes of a document share is context for all of them and
    part of no vector. Let the same object be the index's `embed_model`: it embeds the queries, and of the nodes only those
    without an embedding. A pipeline with `num_workers` divides what it is given among processes: give it documents, not nodes.

    Args:
        model_name: A hub id, a local folder or "mini", the small English model.
        encoder: An Encoder instead of a name; closing the embedding leaves it open.
        revision: As in `taskvec.Encoder.from_pretrained`, like device, dtype, max_batch_tokens, max_bodies, merge_adapters,
            cache_dir, local_files_only and token.
        dimensions: Numbers of a vector; None is the model's full width.
        late_chunking: As a transformation, let the nodes of a document share its context.
        document_task: Another task than retrieval.passage for what is stored; None for the bare model.
        query_task: Another task than retrieval.query for what asks; None for the bare model.
        embed_batch_size: Texts of a call of the encoder, which makes its own batches of them. Late chunking adds whole documents
            until there are at least as many nodes.
        embeddings_cache: One of LlamaIndex's key-value stores. Only vectors of this model, task and dimensions are read from
            it.

    Raises:
        ValidationError: A setting or a task is unknown, or a value is unusable. Dimensions beyond the model's are a ValueError
            when the embedding is used.
    """

    _lazy: LazyEncoder = PrivateAttr()
    _warned: Event = PrivateAttr(default_factory=Event)

    @classmethod
    def class_name(cls) -> str:
        """The name of this class in dumps."""
        return "TaskvecEmbedding"

    def model_post_init(self, context: Any, /) -> None:
        """Note what to load, and load nothing."""
        arguments = {name: getattr(self, name) for name in LOAD_FIELDS}
        token = self.token.get_secret_value if self.token else None
        self._lazy = LazyEncoder(self.encoder or self.model_name, {**arguments, "token": token})

    def to_payload(self) -> dict[str, Any]:
        """What events say of the model."""
        names = ("document_task", "query_task", "dimensions", "late_chunking")
        return super().to_payload() | {name: getattr(self, name) for name in names}

    def token_count(self, text: str) -> range:
        """A sequence as long as the text has tokens of this model.

        With `SentenceSplitter(tokenizer=embedding.token_count)` LlamaIndex downloads no tokenizer.
        """
        return range(self._lazy.get().count_tokens(text)[0] - 2)  # without <s> and </s>

    def close(self) -> None:
        """Let go of a model that was loaded by name; it is loaded again when it is needed.

        Its memory is freed when the last embedding or component that shares it has closed.
        """
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
        self._warn_if_late_chunking()
        return self._encode(texts, "document")

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        self._warn_if_late_chunking()
        return await self._aencode(texts, "document")

    # Its public methods, each with the cache of its own task.

    get_query_embedding = with_safe_cache(BaseEmbedding.get_query_embedding, "query")
    aget_query_embedding = with_safe_cache(BaseEmbedding.aget_query_embedding, "query")
    get_text_embedding = with_safe_cache(BaseEmbedding.get_text_embedding, "document")
    aget_text_embedding = with_safe_cache(BaseEmbedding.aget_text_embedding, "document")
    get_text_embedding_batch = with_safe_cache(BaseEmbedding.get_text_embedding_batch, "document")
    aget_text_embedding_batch = with_safe_cache(BaseEmbedding.aget_text_embedding_batch, "document")

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Give nodes their embeddings, in place, as LlamaIndex's pipelines and indexes do.

        Args:
            nodes: Nodes of any documents, in any order; for late chunking all nodes of a document.
            **kwargs: `show_progress=True` draws a bar.

        Returns:
            The same nodes.
        """
        if not self.late_chunking:
            return super().__call__(nodes, **kwargs)
        for batch in self._batches(group_nodes(nodes), **kwargs):
            with embedding_events(self, batch.node_texts) as embeddings:
                encoder = self._lazy.get()
                vectors = encoder.encode_spans(batch.texts, batch.spans, **self._options("document"))
                embeddings += batch.set_embeddings(vectors)
        return nodes

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """`__call__` in threads; cancelling it ends the work at the next batch of the encoder."""
        if not self.late_chunking:
            return await super().acall(nodes, **kwargs)
        for batch in self._batches(await asyncio.to_thread(group_nodes, nodes), **kwargs):
            with embedding_events(self, batch.node_texts) as embeddings:
                encoder = await asyncio.to_thread(self._lazy.get)
                vectors = await encoder.aencode_spans(batch.texts, batch.spans, **self._options("document"))
                embeddings += batch.set_embeddings(vectors)
        return nodes

    def _batches(self, groups: Sequence[NodeGroup], show_progress: bool = False, **_: Any) -> Iterable[NodeGroupBatch]:
        """Whole documents, about `embed_batch_size` nodes at a time. LlamaIndex hands all transformations the same arguments."""
        return get_tqdm_iterable(batch_groups(groups, self.embed_batch_size), show_progress, "Generating embeddings")

    def _encode(self, texts: Sequence[str], operation: Operation) -> list[Embedding]:
        vectors = self._lazy.get().encode(texts, **self._options(operation))
        return cast(list[Embedding], vectors.tolist())

    async def _aencode(self, texts: Sequence[str], operation: Operation) -> list[Embedding]:
        encoder = await asyncio.to_thread(self._lazy.get)
        return cast(list[Embedding], (await encoder.aencode(texts, **self._options(operation))).tolist())

    def _options(self, operation: Operation) -> EncodeOptions:
        task = EmbedSettings(self.document_task, self.query_task).task(operation)
        return {"task": task, "dimensions": self.dimensions}

    def _with_safe_cache(self, operation: Operation) -> Self:
        """This embedding with a cache that cannot give the vector of another model, task or width."""
        if self.embeddings_cache is None:
            return self
        cache = NamespaceStore(self.embeddings_cache, partial(self._namespace, operation))
        return self.model_copy(update={"embeddings_cache": cache})

    def _namespace(self, operation: Operation) -> str:
        encoder, options = self._lazy.get(), self._options(operation)
        return f"{encoder.fingerprint} {encoder.dtype} {options['task']} {options['dimensions'] or encoder.dimensions}"

    def _warn_if_late_chunking(self) -> None:
        """Warn once where late chunking is asked for and impossible: an index or a splitter sends texts without documents."""
        if self.late_chunking and not self._warned.is_set():
            self._warned.set()
            log.warning(
                "taskvec: late_chunking needs the documents, but only texts came, and each was embedded without context: "
                "put the embedding into transformations=[splitter, embedding], and give a semantic splitter one without "
                "late_chunking"
            )

    def __getstate__(self) -> dict[str, Any]:
        # BaseComponent's __getstate__ deletes what cannot be pickled from the object that is pickled.
        return {"__dict__": {name: value for name, value in self.__dict__.items() if name not in UNPICKLED_FIELDS}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state["__dict__"])  # type: ignore[misc]

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self.model_copy()  # an encoder counts a copy as one more holder, and nobody would close that
