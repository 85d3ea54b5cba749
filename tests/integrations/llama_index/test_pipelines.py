"""TaskvecEmbedding where people use it: pipelines with docstore, cache and workers, stores, query engines, other processes."""

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core import Document, PromptTemplate, StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.callbacks import CallbackManager
from llama_index.core.ingestion import DocstoreStrategy, IngestionCache, IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SemanticSplitterNodeParser
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.vector_stores.milvus import MilvusVectorStore
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import AsyncQdrantClient, QdrantClient

from support.llama_index_texts import (
    ARTICLES,
    QUESTIONS,
    Callbacks,
    PatternSplitter,
    articles,
    assert_equal,
    late_vectors,
    stored,
    texts_of,
)
from support.milvus.polls import hurried
from taskvec import Encoder, Task
from taskvec_integrations.llama_index import TaskvecEmbedding

Make = Callable[..., TaskvecEmbedding]
RUNS = [lambda pipeline, **given: pipeline.run(**given), lambda pipeline, **given: asyncio.run(pipeline.arun(**given))]

# What LlamaIndex's own adapter does to a Qdrant in memory.
pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")


# Docstore, cache, workers


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many documents or texts each call of the encoder was given."""
    sizes: list[int] = []

    def counting(name: str) -> None:
        right = getattr(Encoder, name)

        def method(self: Encoder, texts: Any, *args: Any, **options: Any) -> Any:
            sizes.append(len(texts))
            return right(self, texts, *args, **options)

        monkeypatch.setattr(Encoder, name, method)

    counting("encode")
    counting("encode_spans")
    return sizes


@pytest.mark.parametrize("run", RUNS, ids=["sync", "async"])
def test_a_pipelines_cache_knows_every_setting(
    run: Callable[..., Any], make: Make, mini: Encoder, encoded: list[int], tmp_path: Path
) -> None:
    cache = IngestionCache()
    settings: list[dict[str, Any]] = [
        {},
        {"late_chunking": True},
        {"late_chunking": True, "dimensions": 64},
        {"late_chunking": True, "document_task": "separation"},
        {"late_chunking": True, "document_task": None},
    ]
    vectors = []
    for setting in settings:
        for _ in range(2):
            pipeline = IngestionPipeline(transformations=[PatternSplitter(), make(**setting)], cache=cache)
            nodes = run(pipeline, documents=articles())
            vectors.append([node.embedding for node in nodes])
    assert encoded == [9, 3, 3, 3, 3]
    assert vectors[0::2] == vectors[1::2]
    assert_equal(vectors[0], mini.encode_documents(texts_of(nodes)))
    assert_equal(vectors[2], late_vectors(mini, nodes))
    assert_equal(vectors[4], late_vectors(mini, nodes, dimensions=64))
    assert_equal(vectors[6], late_vectors(mini, nodes, task=Task.SEPARATION))
    assert_equal(vectors[8], late_vectors(mini, nodes, task=None))
    del encoded[:]
    cache.persist(str(tmp_path / "cache"))
    loaded = IngestionCache.from_persist_path(str(tmp_path / "cache"))
    run(IngestionPipeline(transformations=[PatternSplitter(), make()], cache=loaded), documents=articles())
    assert encoded == []


@pytest.mark.parametrize("run", RUNS, ids=["sync", "async"])
def test_a_docstore_has_changed_documents_embedded_and_no_others(
    run: Callable[..., Any], late: TaskvecEmbedding, mini: Encoder, encoded: list[int]
) -> None:
    pipeline = IngestionPipeline(
        transformations=[PatternSplitter(), late],
        docstore=SimpleDocumentStore(),
        vector_store=QdrantVectorStore(
            client=QdrantClient(":memory:"), aclient=AsyncQdrantClient(":memory:"), collection_name="articles"
        ),
        docstore_strategy=DocstoreStrategy.UPSERTS,
        disable_cache=True,
    )
    assert len(run(pipeline, documents=articles())) == 9
    assert run(pipeline, documents=articles()) == []
    first, berlin, bread = articles()
    berlin.set_content("Berlin has changed. It is new.")
    nodes = run(pipeline, documents=[first, berlin, bread])
    assert encoded == [3, 1]
    assert_equal([node.embedding for node in nodes], mini.encode_chunks([["Berlin has changed.", "It is new."]])[0])


def test_workers_load_the_model_themselves(late: TaskvecEmbedding, mini: Encoder) -> None:
    late.get_query_embedding("a")  # loaded here already
    pipeline = IngestionPipeline(transformations=[PatternSplitter(), late], disable_cache=True)
    nodes = pipeline.run(documents=articles(), num_workers=2)
    assert_equal([node.embedding for node in nodes], late_vectors(mini, nodes))
    assert len(nodes) == 9


def test_a_worker_that_cannot_load_the_model_says_so(tmp_path: Path) -> None:
    missing = TaskvecEmbedding(model_name=f"{tmp_path}/a/b/c")
    pipeline = IngestionPipeline(transformations=[PatternSplitter(), missing], disable_cache=True)
    with pytest.raises(FileNotFoundError, match="there is no model folder"):
        pipeline.run(documents=articles(), num_workers=2)


# Stores and what asks them


@pytest.fixture(scope="module", autouse=True)
def quick_polls() -> Iterator[None]:
    with hurried():
        yield


STORES: dict[str, Callable[[Path], Any]] = {
    "simple": lambda folder: SimpleVectorStore(),
    "qdrant": lambda folder: QdrantVectorStore(client=QdrantClient(":memory:"), collection_name="articles"),
    "milvus": lambda folder: MilvusVectorStore(
        uri=str(folder / "milvus.db"), dim=384, similarity_metric="IP", use_async_client=False
    ),
}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    store = STORES[request.param](tmp_path)
    yield store
    if not isinstance(store, SimpleVectorStore):
        store.client.close()


@pytest.mark.parametrize("late", [False, True], ids=["each", "late"])
def test_stores_and_whatever_asks_them(store: Any, late: bool, make: Make, mini: Encoder) -> None:
    embedding = make(late_chunking=late)
    index = VectorStoreIndex.from_documents(
        articles(),
        storage_context=StorageContext.from_defaults(vector_store=store),
        transformations=[PatternSplitter(), embedding],
        embed_model=embedding,
    )
    nodes = PatternSplitter()(articles())
    passages = np.array(late_vectors(mini, nodes)) if late else mini.encode_documents(texts_of(nodes))
    retriever = index.as_retriever(similarity_top_k=3)
    for question in QUESTIONS:
        expected = sorted(zip(passages @ mini.encode_queries(question), texts_of(nodes), strict=True), reverse=True)[:3]
        query_engine = index.as_query_engine(llm=MockLLM(), similarity_top_k=3)
        for hits in (retriever.retrieve(question), query_engine.query(question).source_nodes):
            assert [hit.text for hit in hits] == [text for _, text in expected]
            assert_equal([hit.score for hit in hits], [score for score, _ in expected], atol=1e-5)


def test_async_stores_and_engines(late: TaskvecEmbedding, mini: Encoder) -> None:
    async def main() -> None:
        sync, client = QdrantClient(":memory:"), AsyncQdrantClient(":memory:")
        store = QdrantVectorStore(client=sync, aclient=client, collection_name="articles")
        context = StorageContext.from_defaults(vector_store=store)
        index = VectorStoreIndex([], storage_context=context, transformations=[PatternSplitter(), late], embed_model=late)
        for document in articles():
            await index.ainsert(document)
        nodes = PatternSplitter()(articles())
        scores = np.array(late_vectors(mini, nodes)) @ mini.encode_queries(QUESTIONS[0])
        prompt = PromptTemplate("{context_str} {query_str}")
        query_engine = index.as_query_engine(llm=MockLLM(), similarity_top_k=9, text_qa_template=prompt)
        (response, hits) = await asyncio.gather(
            query_engine.aquery(QUESTIONS[0]), index.as_retriever(similarity_top_k=9).aretrieve(QUESTIONS[0])
        )
        for found in (response.source_nodes, hits):
            assert [hit.text for hit in found] == [texts_of(nodes)[i] for i in np.argsort(-scores)]
            assert_equal([hit.score for hit in found], -np.sort(-scores), atol=1e-5)
        await client.close()
        sync.close()

    asyncio.run(main())


CHILD = """
import json, sys
from llama_index.core import StorageContext, load_index_from_storage
from taskvec_integrations.llama_index import TaskvecEmbedding

folder, question, settings = sys.argv[1:]
embedding = TaskvecEmbedding.from_json(settings)
index = load_index_from_storage(StorageContext.from_defaults(persist_dir=folder), embed_model=embedding)
print(json.dumps([[hit.text, hit.score] for hit in index.as_retriever(similarity_top_k=9).retrieve(question)]))
"""


def test_an_index_on_disk_answers_another_process_alike(late: TaskvecEmbedding, tmp_path: Path) -> None:
    index = VectorStoreIndex.from_documents(articles(), transformations=[PatternSplitter(), late], embed_model=late)
    index.storage_context.persist(str(tmp_path))
    here = [(hit.text, hit.score) for hit in index.as_retriever(similarity_top_k=9).retrieve(QUESTIONS[0])]
    command = [sys.executable, "-W", "error", "-c", CHILD, str(tmp_path), QUESTIONS[0], late.to_json()]
    path = {"PYTHONPATH": ":".join(sys.path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    there = json.loads(done.stdout)
    assert [text for text, _ in there] == [text for text, _ in here]
    assert_equal([score for _, score in there], [score for _, score in here])


def test_an_index_from_disk_takes_more(late: TaskvecEmbedding, mini: Encoder, tmp_path: Path) -> None:
    first, *others = articles()
    VectorStoreIndex.from_documents([first], transformations=[PatternSplitter(), late], embed_model=late).storage_context.persist(
        str(tmp_path)
    )
    context = StorageContext.from_defaults(persist_dir=str(tmp_path))
    index = load_index_from_storage(context, transformations=[PatternSplitter(), late], embed_model=late)
    for document in others:
        index.insert(document)
    assert isinstance(index, VectorStoreIndex)
    nodes, vectors = stored(index)
    assert_equal(vectors, late_vectors(mini, nodes))


# Semantic splitting

TWO_TOPICS = f"{ARTICLES['berlin']} {ARTICLES['bread']}"


@pytest.mark.parametrize("task", ["auto", "separation", None])
@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_semantic_splitter_compares_with_the_document_task(task: str | None, way: str, make: Make, mini: Encoder) -> None:
    heard = Callbacks()
    embedding = make(document_task=task, callback_manager=CallbackManager([heard]))
    splitter = SemanticSplitterNodeParser.from_defaults(embed_model=embedding, buffer_size=0, breakpoint_percentile_threshold=75)
    documents = [Document(text=TWO_TOPICS)]
    nodes = splitter(documents) if way == "sync" else asyncio.run(splitter.acall(documents))
    assert "".join(texts_of(nodes)) == TWO_TOPICS
    assert len(nodes) > 1
    ((sentences, vectors),) = heard.embedded
    assert sentences == splitter.sentence_splitter(TWO_TOPICS)
    assert_equal(vectors, mini.encode(sentences, task=Task.RETRIEVAL_PASSAGE if task == "auto" else task))


def test_semantic_chunks_are_late_chunked_by_an_embedding_beside_the_splitters(
    make: Make, mini: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    plain, late = make(), make(late_chunking=True)
    splitter = SemanticSplitterNodeParser.from_defaults(embed_model=plain, breakpoint_percentile_threshold=60)
    with caplog.at_level(logging.WARNING, "taskvec"):
        nodes = IngestionPipeline(transformations=[splitter, late]).run(documents=[Document(text=TWO_TOPICS)])
    assert not caplog.records
    assert plain._lazy.get() is late._lazy.get()
    spans = [(TWO_TOPICS.index(text), TWO_TOPICS.index(text) + len(text)) for text in texts_of(nodes)]
    assert len(spans) > 1
    assert_equal([node.embedding for node in nodes], mini.encode_spans([TWO_TOPICS], [spans])[0])
