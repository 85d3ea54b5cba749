"""Whole pipelines, built and from YAML in a fresh process: what is stored and searched is what the encoder says."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from haystack import Document, Pipeline, SuperComponent
from haystack.components.converters import TextFileToDocument
from haystack.components.preprocessors import DocumentCleaner, DocumentSplitter
from haystack.components.retrievers import InMemoryEmbeddingRetriever, MultiQueryEmbeddingRetriever
from haystack.components.writers import DocumentWriter
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack_integrations.components.retrievers.qdrant import QdrantEmbeddingRetriever
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from milvus_haystack import MilvusDocumentStore, MilvusEmbeddingRetriever  # type: ignore[import-untyped]
from pymilvus import MilvusClient, connections

from haystack_integrations.components.embedders.taskvec import TaskvecDocumentEmbedder, TaskvecTextEmbedder
from support.haystack_texts import BREAD, CITY
from support.paths import ROOT
from taskvec import Encoder

# milvus-haystack uses what pymilvus deprecates and changes Documents in place. qdrant-haystack makes indexes that have no effect
# in memory.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pymilvus.decorators.PyMilvusDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Mutating attribute"),
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning"),
]

QUESTIONS = ["What is baked in a hot oven?", "How many people live in Berlin?", "What can one see in the museums?"]
OPTIONS: dict[str, Any] = {"dimensions": 128, "dtype": "float32", "device": "cpu"}


@contextmanager
def milvus(folder: Path) -> Iterator[MilvusDocumentStore]:
    """A store on milvus-lite; milvus-haystack 0.0.18 expects a connection that the clients of pymilvus 2.6 do not open.

    pymilvus keeps connections for the whole process, under names that may be given again, so they are removed in the end.
    """
    uri = str(folder / "milvus.db")
    client = MilvusClient(uri)
    alias = client._using
    connections.connect(alias=alias, uri=uri)
    try:
        parameters = {"metric_type": "COSINE", "index_type": "AUTOINDEX", "params": {}}
        store = MilvusDocumentStore(connection_args={"uri": uri}, index_params=parameters, consistency_level="Strong")
        yield store
        store.client.close()
    finally:
        connections.remove_connection(alias)
        client.close()


STORES: dict[str, Callable[[Path], AbstractContextManager[Any]]] = {
    "in memory": lambda _: nullcontext(InMemoryDocumentStore(embedding_similarity_function="cosine")),
    "qdrant": lambda _: nullcontext(QdrantDocumentStore(":memory:", embedding_dim=128, return_embedding=True)),
    "milvus": milvus,
}
RETRIEVERS: dict[type, Any] = {
    InMemoryDocumentStore: InMemoryEmbeddingRetriever,
    QdrantDocumentStore: QdrantEmbeddingRetriever,
    MilvusDocumentStore: MilvusEmbeddingRetriever,
}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    with STORES[request.param](tmp_path) as store:
        yield store


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Texts as users have them, with blanks at the ends of lines for a cleaner."""
    paths = [tmp_path / "city.txt", tmp_path / "bread.txt"]
    for path, text in zip(paths, (CITY, BREAD), strict=True):
        path.write_text(text.replace("\f", " ").replace(" ", "  "))
    return paths


def retriever(store: Any, **parameters: Any) -> Any:
    return RETRIEVERS[type(store)](document_store=store, **parameters)


def indexing(store: Any, late: bool, with_sources: bool = False) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("converter", TextFileToDocument())
    pipeline.add_component("cleaner", DocumentCleaner())
    pipeline.add_component("splitter", DocumentSplitter(split_by="word", split_length=12, split_overlap=4))
    pipeline.add_component("embedder", TaskvecDocumentEmbedder("mini", late_chunking=late, progress_bar=False, **OPTIONS))
    pipeline.add_component("writer", DocumentWriter(store))
    pipeline.connect("converter", "cleaner")
    pipeline.connect("cleaner", "splitter")
    pipeline.connect("splitter", "embedder.documents")
    pipeline.connect("embedder.documents", "writer")
    if with_sources:
        pipeline.connect("cleaner", "embedder.sources")
    return pipeline


def querying(store: Any) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("embedder", TaskvecTextEmbedder("mini", **OPTIONS))
    pipeline.add_component("retriever", retriever(store, top_k=3))
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    return pipeline


def expected(encoder: Encoder, files: list[Path], late: bool) -> dict[str, np.ndarray]:
    """By chunk, its vector, from the encoder alone."""
    documents = TextFileToDocument().run(sources=[*files])["documents"]
    cleaned = DocumentCleaner().run(documents=documents)["documents"]
    vectors: dict[str, np.ndarray] = {}
    for source in cleaned:
        chunks = DocumentSplitter(split_by="word", split_length=12, split_overlap=4).run(documents=[source])["documents"]
        texts = [chunk.content or "" for chunk in chunks]
        starts = [chunk.meta["split_idx_start"] for chunk in chunks]
        spans = [(start, start + len(text)) for start, text in zip(starts, texts, strict=True)]
        if late:
            (rows,) = encoder.encode_spans([source.content or ""], [spans], dimensions=128)
        else:
            rows = encoder.encode_documents(texts, dimensions=128)
        vectors |= dict(zip(texts, rows, strict=True))
    return vectors


def check_stored(store: Any, vectors: dict[str, np.ndarray]) -> None:
    stored = {document.content: document.embedding for document in store.filter_documents()}
    assert stored.keys() == vectors.keys()
    for content, vector in vectors.items():
        np.testing.assert_allclose(stored[content], vector, atol=1e-5)


def best(vectors: dict[str, np.ndarray], encoder: Encoder, question: str) -> list[str]:
    query = encoder.encode_queries(question, dimensions=128)
    return sorted(vectors, key=lambda content: -float(vectors[content] @ query))


def check_found(documents: list[Document], vectors: dict[str, np.ndarray], encoder: Encoder, question: str) -> None:
    assert [document.content for document in documents] == best(vectors, encoder, question)[: len(documents)]
    query = encoder.encode_queries(question, dimensions=128)
    scores = [float(vectors[document.content or ""] @ query) for document in documents]
    np.testing.assert_allclose(np.array([document.score for document in documents]), np.array(scores), atol=1e-4)


@pytest.mark.parametrize("late", [False, True], ids=["plain", "late"])
def test_indexing_and_query_pipelines(store: Any, late: bool, files: list[Path], mini: Encoder) -> None:
    index, query = indexing(store, late), querying(store)
    result = index.run({"converter": {"sources": files}}, include_outputs_from={"embedder"})
    assert result["embedder"]["meta"]["fallbacks"] == 0
    vectors = expected(mini, files, late)
    check_stored(store, vectors)
    for question in QUESTIONS:
        found = query.run({"embedder": {"text": question}})["retriever"]["documents"]
        if isinstance(store, MilvusDocumentStore):  # whose scores are (1 + cosine) / 2
            found = [replace(document, score=2 * document.score - 1) for document in found]
        check_found(found, vectors, mini, question)


def test_async_runs_of_pipelines(files: list[Path], mini: Encoder) -> None:
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    vectors = expected(mini, files, late=True)

    async def main() -> list[list[Document]]:
        await indexing(store, late=True, with_sources=True).run_async({"converter": {"sources": files}})
        query = querying(store)
        runs = [query.run_async({"embedder": {"text": question}}) for question in QUESTIONS]
        return [found["retriever"]["documents"] for found in await asyncio.gather(*runs)]

    results = asyncio.run(main())
    check_stored(store, vectors)
    for question, found in zip(QUESTIONS, results, strict=True):
        check_found(found, vectors, mini, question)


@pytest.mark.parametrize("in_async", [False, True], ids=["threads", "async"])
def test_a_multi_query_retriever_asks_from_several_threads(in_async: bool, files: list[Path], mini: Encoder) -> None:
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    indexing(store, late=False).run({"converter": {"sources": files}})
    embedder = TaskvecTextEmbedder("mini", **OPTIONS)
    several = MultiQueryEmbeddingRetriever(
        retriever=InMemoryEmbeddingRetriever(store, top_k=1), query_embedder=embedder, max_workers=3
    )
    questions = QUESTIONS * 5
    found = asyncio.run(several.run_async(questions)) if in_async else several.run(questions)
    vectors = expected(mini, files, late=False)
    assert {document.content for document in found["documents"]} == {best(vectors, mini, question)[0] for question in QUESTIONS}
    again = MultiQueryEmbeddingRetriever.from_dict(several.to_dict())
    assert isinstance(again.query_embedder, TaskvecTextEmbedder)
    assert again.query_embedder.to_dict() == embedder.to_dict()
    several.close()


def test_super_components(files: list[Path], mini: Encoder) -> None:
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    index = SuperComponent(
        indexing(store, late=True),
        input_mapping={"files": ["converter.sources"]},
        output_mapping={"embedder.meta": "meta", "writer.documents_written": "written"},
    )
    index.warm_up()
    vectors = expected(mini, files, late=True)
    done = index.run(files=files)
    assert (done["meta"]["model"], done["written"]) == ("mini", len(vectors))
    check_stored(store, vectors)
    assert SuperComponent.from_dict(index.to_dict()).to_dict() == index.to_dict()


FRESH = """
import json, sys
from pathlib import Path
from haystack import Pipeline

index, query, store, files, questions = json.loads(sys.stdin.read())
written = Pipeline.loads(index).run({"converter": {"sources": files}})["writer"]["documents_written"]
pipeline = Pipeline.loads(query)
retriever = pipeline.get_component("retriever")
retriever.document_store = type(retriever.document_store).load_from_disk(store)
found = [pipeline.run({"embedder": {"text": question}})["retriever"]["documents"] for question in questions]
print(json.dumps([written, [[[document.content, document.score] for document in documents] for documents in found]]))
"""


def test_yaml_and_a_stored_index_in_a_fresh_process(tmp_path: Path, files: list[Path], mini: Encoder) -> None:
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    index, query = indexing(store, late=True, with_sources=True), querying(store)
    written = index.run({"converter": {"sources": files}})["writer"]["documents_written"]
    store.save_to_disk(str(tmp_path / "store.json"))
    given = [index.dumps(), query.dumps(), str(tmp_path / "store.json"), [str(path) for path in files], QUESTIONS]
    env = {"PYTHONPATH": f"{ROOT / 'core'}:{ROOT / 'integrations'}", "HAYSTACK_TELEMETRY_ENABLED": "False"}
    done = subprocess.run(
        [sys.executable, "-c", FRESH],
        input=json.dumps(given),
        env={**env, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    again, results = json.loads(done.stdout)
    assert again == written
    vectors = expected(mini, files, late=True)
    for question, rows in zip(QUESTIONS, results, strict=True):
        found = [Document(content=content, score=score) for content, score in rows]
        check_found(found, vectors, mini, question)
