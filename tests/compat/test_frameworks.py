"""YAML of Haystack and what LlamaIndex persisted, of an earlier version: both are read, work as before and encode nothing twice.

The fixtures were made by make_fixtures.py with the pipelines of frameworks.py.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from haystack import Pipeline
from haystack.marshal import YamlMarshaller
from llama_index.core import Document, StorageContext, load_index_from_storage
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.storage.kvstore import SimpleKVStore

from compat.alike import assert_alike
from compat.frameworks import LLAMA_OPTIONS, QUESTION, articles, haystack_inputs, haystack_outputs, pipeline, retrieved
from compat.texts import BREAD, CURIE, MODEL
from haystack_integrations.components.embedders.taskvec import TaskvecDocumentEmbedder, TaskvecTextEmbedder
from taskvec import Encoder
from taskvec_integrations.llama_index import TaskvecEmbedding

FIXTURES = Path(__file__).parent / "fixtures"
EXPECTED: dict[str, Any] = json.loads((FIXTURES / "expected.json").read_text())
CLOSED = "the encoder of mini is closed"


@pytest.fixture
def closed() -> Encoder:
    """An encoder that says what model it is and can encode nothing."""
    encoder = Encoder.from_pretrained("mini", **MODEL)
    encoder.close()
    return encoder


def read_yaml(name: str) -> dict[str, Any]:
    return YamlMarshaller().unmarshal((FIXTURES / "haystack" / f"{name}.yaml").read_text())


def test_haystack_pipeline() -> None:
    whole = Pipeline.loads((FIXTURES / "haystack" / "pipeline.yaml").read_text())
    outputs = whole.run(haystack_inputs(), include_outputs_from={"documents", "query"})
    assert_alike(haystack_outputs(outputs), EXPECTED["haystack"])


@pytest.mark.parametrize("kind", [TaskvecDocumentEmbedder, TaskvecTextEmbedder])
def test_haystack_component(kind: Any) -> None:
    name = {TaskvecDocumentEmbedder: "document_embedder", TaskvecTextEmbedder: "text_embedder"}[kind]
    written = read_yaml(name)
    again = kind.from_dict(written).to_dict()
    assert again["type"] == written["type"]
    assert again["init_parameters"].items() >= written["init_parameters"].items()


def test_haystack_query() -> None:
    written = read_yaml("text_embedder")
    assert_alike(TaskvecTextEmbedder.from_dict(written).run(QUESTION)["embedding"], EXPECTED["haystack"]["query"])


def test_llama_index_retrieves() -> None:
    embedding = TaskvecEmbedding(model_name="mini", **LLAMA_OPTIONS, **MODEL)
    storage = StorageContext.from_defaults(persist_dir=str(FIXTURES / "llama_index" / "index"))
    assert_alike(retrieved(load_index_from_storage(storage, embed_model=embedding)), EXPECTED["llama_index"])
    embedding.close()


def test_llama_index_pipeline_knows_its_documents(closed: Encoder) -> None:
    ingestion = pipeline(TaskvecEmbedding(encoder=closed, **LLAMA_OPTIONS), docstore=SimpleDocumentStore())
    ingestion.load(str(FIXTURES / "llama_index" / "pipeline"))
    assert ingestion.run(documents=articles()) == []
    with pytest.raises(RuntimeError, match=CLOSED):
        ingestion.run(documents=[*articles(), Document(id_="new", text="Tea is older than coffee.")])


def test_llama_index_pipeline_takes_vectors_from_its_cache(closed: Encoder) -> None:
    """The keys of the cache are hashes of the nodes and of all fields of the embedding."""
    ingestion = pipeline(TaskvecEmbedding(encoder=closed, **LLAMA_OPTIONS))
    ingestion.load(str(FIXTURES / "llama_index" / "pipeline"))
    ingestion.docstore = None
    nodes = ingestion.run(documents=articles())
    stored = json.loads((FIXTURES / "llama_index" / "index" / "default__vector_store.json").read_text())["embedding_dict"]
    assert {node.node_id: node.embedding for node in nodes} == stored
    other = pipeline(TaskvecEmbedding(encoder=closed, **{**LLAMA_OPTIONS, "dimensions": 8}), cache=ingestion.cache)
    with pytest.raises(RuntimeError, match=CLOSED):
        other.run(documents=articles())


def test_llama_index_cache_of_texts(closed: Encoder) -> None:
    texts = SimpleKVStore.from_persist_path(str(FIXTURES / "llama_index" / "texts.json"))
    embedding = TaskvecEmbedding(encoder=closed, dimensions=8, embeddings_cache=texts)
    stored = [vector for entry in texts.get_all("embeddings").values() for vector in entry.values()]
    assert [*embedding.get_text_embedding_batch([BREAD, CURIE]), embedding.get_query_embedding(BREAD)] == stored
    with pytest.raises(RuntimeError, match=CLOSED):
        embedding.get_query_embedding(CURIE)
