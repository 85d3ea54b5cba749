"""Texts, parsers, comparisons and listeners that the tests of the LlamaIndex integration share, in workers and children, too."""

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import NodeParser
from llama_index.core.node_parser.node_utils import build_nodes_from_splits
from llama_index.core.schema import BaseNode, TextNode
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.event_handlers import BaseEventHandler
from numpy.testing import assert_allclose

from taskvec import Encoder, Task
from taskvec_integrations.llama_index import TaskvecEmbedding

ARTICLES = {
    "curie": "Marie Curie was born in Warsaw in 1867. She shared the Nobel Prize in Physics. Her daughter won one, too.",
    "berlin": "Berlin is the capital of Germany. The city has 3.8 million inhabitants. It lies on the Spree.",
    "bread": "Sourdough rises by wild yeast. Its starter is fed every day. It is baked in a very hot oven.",
}
TEXTS = list(ARTICLES.values())
QUESTIONS = ["How many people live in Berlin?", "Which prize did Marie Curie win?", "What is fed daily?"]

# The difference that float32 arithmetic in batches of other shapes and the normalization of a store leave.
ROUNDING = 2e-6


def mini_embedding(**settings: Any) -> TaskvecEmbedding:
    """The bundled model as the fixture `mini` has it."""
    return TaskvecEmbedding(model_name="mini", dtype="float32", device="cpu", **settings)


def articles(**metadata: str) -> list[Document]:
    """Fresh documents, which transformations and stores may change."""
    return [Document(id_=name, text=text, metadata=dict(metadata)) for name, text in ARTICLES.items()]


class PatternSplitter(NodeParser):
    """Splits where a pattern is, by default between sentences; has no tokenizer, which SentenceSplitter loses when unpickled."""

    pattern: str = r"(?<=\.) "

    def _parse_nodes(self, nodes: Sequence[BaseNode], show_progress: bool = False, **kwargs: Any) -> list[BaseNode]:
        split = re.compile(self.pattern).split
        return [part for node in nodes for part in build_nodes_from_splits(split(node.get_content()), node, node)]


def texts_of(nodes: Sequence[BaseNode]) -> list[str]:
    """What late chunking takes for the text of each node."""
    return [node.get_content() for node in nodes]


def text_nodes(nodes: Sequence[BaseNode]) -> list[TextNode]:
    """The nodes, all of which are TextNodes."""
    assert all(isinstance(node, TextNode) for node in nodes)
    return cast(list[TextNode], list(nodes))


def span_of(node: BaseNode) -> tuple[int, int]:
    """The characters of its document that a node says it is."""
    assert isinstance(node, TextNode)
    assert node.start_char_idx is not None
    assert node.end_char_idx is not None
    return node.start_char_idx, node.end_char_idx


def embeddings(nodes: Iterable[BaseNode]) -> list[list[float] | None]:
    """The embedding of each node."""
    return [node.embedding for node in nodes]


def assert_equal(numbers: Any, expected: Any, atol: float = ROUNDING) -> None:
    """The same vectors or scores up to rounding, by default that of float32 vectors."""
    assert_allclose(np.array(numbers), np.array(expected), atol=atol, rtol=0)


def late_vectors(encoder: Encoder, nodes: Sequence[BaseNode], **options: Any) -> list[Any]:
    """What `encode_spans` makes of the articles and the places of the nodes in them, which must be whole articles in order."""
    expected = []
    for name, text in ARTICLES.items():
        chunks = [node.get_content() for node in nodes if node.ref_doc_id == name]
        spans = [(text.index(chunk), text.index(chunk) + len(chunk)) for chunk in chunks]
        expected += list(encoder.encode_spans([text], [spans], **options)[0])
    return expected


def stored(index: VectorStoreIndex) -> tuple[list[BaseNode], list[list[float]]]:
    """The nodes of an index over a SimpleVectorStore with their vectors, in the order of the articles."""
    nodes = list(index.docstore.docs.values())
    assert isinstance(index.vector_store, SimpleVectorStore)
    return nodes, [index.vector_store.get(node.node_id) for node in nodes]


def check_tasks(embedding: TaskvecEmbedding, encoder: Encoder) -> None:
    """Every route that needs no event loop gives passages and queries the vectors of their own tasks."""
    passages = encoder.encode(TEXTS, task=Task.RETRIEVAL_PASSAGE)
    queries = encoder.encode(QUESTIONS, task=Task.RETRIEVAL_QUERY)
    assert_equal(embedding.get_text_embedding_batch(TEXTS), passages)
    assert_equal([embedding.get_text_embedding(text) for text in TEXTS], passages)
    assert_equal(embeddings(embedding(articles())), passages)
    assert_equal([embedding.get_query_embedding(question) for question in QUESTIONS], queries)
    assert_equal(embedding.get_agg_embedding_from_queries(QUESTIONS), queries.mean(axis=0))
    index = VectorStoreIndex.from_documents(articles(), transformations=[PatternSplitter()], embed_model=embedding)
    nodes, vectors = stored(index)
    assert_equal(vectors, encoder.encode(texts_of(nodes), task=Task.RETRIEVAL_PASSAGE))
    check_scores(index, encoder, encoder.encode(texts_of(nodes), task=Task.RETRIEVAL_PASSAGE), texts_of(nodes))


def check_scores(index: VectorStoreIndex, encoder: Encoder, passages: Any, texts: list[str]) -> None:
    """The retriever of an index scores all its texts by their vectors and the query's."""
    queries = encoder.encode(QUESTIONS, task=Task.RETRIEVAL_QUERY)
    retriever = index.as_retriever(similarity_top_k=len(texts))
    for question, query in zip(QUESTIONS, queries, strict=True):
        found = {hit.text: hit.score for hit in retriever.retrieve(question)}
        assert set(found) == set(texts)
        assert_equal([found[text] for text in texts], np.array(passages) @ query, atol=1e-5)


def check_late(embedding: TaskvecEmbedding, encoder: Encoder) -> None:
    """A pipeline of splitter and embedding gives nodes the vectors of late chunking, behind what they say of their document."""
    nodes = IngestionPipeline(transformations=[PatternSplitter(), embedding]).run(documents=articles())
    assert len(nodes) == 9
    assert_equal(embeddings(nodes), late_vectors(encoder, nodes, dimensions=embedding.dimensions))
    nodes = IngestionPipeline(transformations=[PatternSplitter(), embedding]).run(documents=articles(country="France")[:1])
    before = "country: France\n\n"
    spans = [(start + len(before), stop + len(before)) for start, stop in map(span_of, nodes)]
    (expected,) = encoder.encode_spans([before + TEXTS[0]], [spans], dimensions=embedding.dimensions)
    assert_equal(embeddings(nodes), expected)


def both_ways(embedding: TaskvecEmbedding) -> list[tuple[Any, Any, Any, Any]]:
    """Query, text, texts and nodes by the sync and by the async methods, of the same texts."""

    async def main() -> tuple[Any, Any, Any, Any]:
        return (
            await embedding.aget_query_embedding(TEXTS[0]),
            await embedding.aget_text_embedding(TEXTS[0]),
            await embedding.aget_text_embedding_batch(TEXTS),
            embeddings(await embedding.acall(articles())),
        )

    sync = (
        embedding.get_query_embedding(TEXTS[0]),
        embedding.get_text_embedding(TEXTS[0]),
        embedding.get_text_embedding_batch(TEXTS),
        embeddings(embedding(articles())),
    )
    return [sync, asyncio.run(main())]


def check_cached(embedding: TaskvecEmbedding, encoder: Encoder, **options: Any) -> None:
    """A query, a text, texts and nodes have their own vectors, sync and async, with what the cache of an embedding holds."""
    passages = encoder.encode_documents(TEXTS, **options)
    for query, text, texts, nodes in both_ways(embedding):
        assert_equal(query, encoder.encode_queries(TEXTS[0], **options))
        assert_equal(text, passages[0])
        assert_equal(texts, passages)
        assert_equal(nodes, passages)


class Callbacks(BaseCallbackHandler):
    """Keeps the callbacks of embeddings."""

    def __init__(self) -> None:
        super().__init__([], [])
        self.seen: list[tuple[str, dict[str, Any]]] = []

    def on_event_start(self, event_type: CBEventType, payload: dict[str, Any] | None = None, *args: Any, **kwargs: Any) -> str:
        self._keep("start", event_type, payload)
        return ""

    def on_event_end(self, event_type: CBEventType, payload: dict[str, Any] | None = None, *args: Any, **kwargs: Any) -> None:
        self._keep("end", event_type, payload)

    def start_trace(self, trace_id: str | None = None) -> None:
        """Nothing to do."""

    def end_trace(self, trace_id: str | None = None, trace_map: dict[str, list[str]] | None = None) -> None:
        """Nothing to do."""

    def _keep(self, moment: str, event_type: CBEventType, payload: dict[str, Any] | None) -> None:
        if event_type is CBEventType.EMBEDDING:
            self.seen.append((moment, payload or {}))

    @property
    def embedded(self) -> list[tuple[list[str], list[list[float]]]]:
        """Chunks and embeddings of the events that ended."""
        ends = [payload for moment, payload in self.seen if moment == "end"]
        return [(payload[EventPayload.CHUNKS], payload[EventPayload.EMBEDDINGS]) for payload in ends]


class Events(BaseEventHandler):
    """Keeps instrumentation events."""

    seen: list[Any] = []  # noqa: RUF012 (pydantic copies it)

    def handle(self, event: Any, **kwargs: Any) -> None:
        self.seen.append(event)


@contextmanager
def instrumented() -> Iterator[list[Any]]:
    """The events of embeddings while the block lasts."""
    root, handler = get_dispatcher(), Events()
    root.add_event_handler(handler)
    try:
        yield handler.seen
    finally:
        root.event_handlers.remove(handler)
