"""Makes what users hold of an earlier version: pickles, YAML, persisted indexes, collections. Run with that version on the path:

    git worktree add ../old 26749b3
    PYTHONPATH=../old/core:../old/integrations HF_HUB_OFFLINE=1 python tests/compat/make_fixtures.py

The fixtures in this folder are of commit 26749b3; the tests read them with the code as it is.
"""

import json
import pickle
import shutil
import sys
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[1]))

from haystack import Pipeline
from haystack.components.preprocessors import DocumentSplitter
from haystack.marshal import YamlMarshaller
from haystack.utils import ComponentDevice
from llama_index.core import VectorStoreIndex
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.storage.kvstore import SimpleKVStore
from pydantic import SecretStr
from qdrant_client import QdrantClient

from compat.frameworks import LLAMA_OPTIONS, articles, haystack_inputs, haystack_outputs, pipeline, retrieved
from compat.pinecone_stub import Namespaces, StubIndex
from compat.texts import BREAD, COLLECTIONS, CURIE, DOCUMENTS, MODEL
from compat.uses import USES
from haystack_integrations.components.embedders.taskvec import TaskvecDocumentEmbedder, TaskvecTextEmbedder
from taskvec import CheckpointError, Encoder, Task, Usage
from taskvec_integrations.llama_index import TaskvecEmbedding
from taskvec_integrations.milvus import TaskvecEmbeddingFunction, TextCollection
from taskvec_integrations.pinecone import AsyncTaskvecInference, PineconeStore, TaskvecInference
from taskvec_integrations.qdrant import QdrantStore, TwoStageSearch
from taskvec_integrations.ray import EmbedChunks, EmbedDocuments, EmbedQueries
from taskvec_integrations.server import ServerSettings
from taskvec_integrations.store import Counts, Document, Failure, Hit, IngestReport
from taskvec_integrations.store_url import StoreURL

LazyEncoder = import_module("taskvec_integrations.options").LazyEncoder
Calls = import_module("taskvec_integrations.qdrant.calls").Calls
"""Of modules that only the old version has."""

FOLDER = Path(__file__).parent / "fixtures"
PUBLIC_API = json.loads((Path(__file__).parent / "public_api.json").read_text())["names"]


def objects(encoder: Encoder) -> Mapping[str, Any]:
    """One of each public kind that can be pickled, with settings that are not the defaults."""
    chunked: dict[str, Any] = {"late_chunking": True, "dimensions": 8, "prefix": "> ", "meta_fields_to_embed": ["title"]}
    keys = (SecretStr("first"), SecretStr("second"))
    columns: dict[str, Any] = {"text_column": "body", "output_column": "vector", "id_column": "name"}
    return {
        "checkpoint_error": CheckpointError("model.safetensors is missing"),
        "counts": Counts(read=3, skipped=1, written=2),
        "document": Document(7, CURIE, spans=[(0, 31), (18, 66)], payload={"born": 1867}),
        "embed_chunks": EmbedChunks("mini", dimensions=8, late_chunking=True, **MODEL),
        "embed_documents": EmbedDocuments("mini", dimensions=8, precision="float16", task="separation", **columns, **MODEL),
        "embed_queries": EmbedQueries("mini", dimensions=8, **columns, **MODEL),
        "embedding": TaskvecEmbedding(model_name="mini", **LLAMA_OPTIONS, **MODEL),
        "embedding_function": TaskvecEmbeddingFunction(encoder, dimensions=8, late_chunking=True, precision="float16"),
        "encoder": encoder,
        "failure": Failure("bread", "its text is empty", 2),
        "haystack_document_embedder": TaskvecDocumentEmbedder("mini", progress_bar=False, **chunked, **MODEL),
        "haystack_text_embedder": TaskvecTextEmbedder("mini", dimensions=8, task=None, suffix=" <", **MODEL),
        "hit": Hit("id", "bread", 2, 0.5, "It is baked.", {"kind": "food"}),
        "inference": TaskvecInference(encoder, dimensions=8, query_task="separation"),
        "inference_async": AsyncTaskvecInference(encoder, dimensions=8),
        "ingest_report": IngestReport(Counts(2, written=1, failed=1), Counts(5, written=4), [Failure("a", "b")], 1, 2, 3, 4.5),
        "lazy_encoder": LazyEncoder("mini", {**MODEL, "token": "secret"}),
        "lazy_encoder_loaded": LazyEncoder(encoder),
        "load_later": partial(Encoder.from_pretrained, "mini", **MODEL),
        "server_settings": ServerSettings(api_keys=keys, recognise_instructions=True, max_inputs=7, patience=1.5),
        "store_url": StoreURL("qdrant", "https://db.example.com:6333"),
        "task": Task.RETRIEVAL_PASSAGE,
        "text_collection": TextCollection(8, "float16", id_field="key", index={"index_type": "DISKANN"}),
        "two_stage_search": TwoStageSearch("mini", 64, oversampling=4.0, bm25="english", tenant="user"),
        "usage": Usage(1, 2, 3, 4),
    }


def make_pickles(folder: Path, encoder: Encoder) -> dict[str, Any]:
    """A file for each object; what their uses gave."""
    used = {}
    for name, thing in objects(encoder).items():
        (folder / f"{name}.pickle").write_bytes(pickle.dumps(thing, protocol=4))
        used[name] = USES[name](pickle.loads(pickle.dumps(thing, protocol=4)))
    return used


def references() -> dict[str, list[str]]:
    """How a pickle names each public class and function: its module and its name there."""
    named = {}
    for path, entry in PUBLIC_API.items():
        module, _, name = path.partition(":")
        if entry["kind"] in ("class", "typed dict", "function", "another path") and name != "shared_encoder":  # cannot be pickled
            thing = getattr(import_module(module), name)
            named[path] = [thing.__module__, thing.__qualname__]
            pickle.dumps(thing, protocol=4)
    return named


def make_haystack(folder: Path) -> dict[str, Any]:
    """A pipeline with both components, and each on its own."""
    documents = TaskvecDocumentEmbedder(
        "mini",
        late_chunking=True,
        dimensions=16,
        task="separation",
        precision="int8",
        suffix=" (end)",
        meta_fields_to_embed=["title"],
        embedding_separator=" | ",
        progress_bar=False,
        max_batch_tokens=256,
        device=ComponentDevice.from_str("cpu"),
        dtype="float32",
    )
    query = TaskvecTextEmbedder("mini", dimensions=16, task="separation", precision="int8", prefix="? ", **MODEL)
    whole = Pipeline()
    whole.add_component("splitter", DocumentSplitter(split_by="period", split_length=1))
    whole.add_component("documents", documents)
    whole.add_component("query", query)
    whole.connect("splitter.documents", "documents.documents")
    (folder / "pipeline.yaml").write_text(whole.dumps())
    (folder / "document_embedder.yaml").write_text(YamlMarshaller().marshal(documents.to_dict()))
    (folder / "text_embedder.yaml").write_text(YamlMarshaller().marshal(query.to_dict()))
    return haystack_outputs(whole.run(haystack_inputs(), include_outputs_from={"documents", "query"}))


def make_llama_index(folder: Path) -> list[dict[str, Any]]:
    """An index, the cache and the documents of a pipeline, and a cache of texts."""
    embedding = TaskvecEmbedding(model_name="mini", **LLAMA_OPTIONS, **MODEL)
    ingestion = pipeline(embedding, docstore=SimpleDocumentStore())
    nodes = ingestion.run(documents=articles())
    ingestion.persist(str(folder / "pipeline"))
    index = VectorStoreIndex(nodes, embed_model=embedding)
    index.storage_context.persist(str(folder / "index"))
    texts = SimpleKVStore()
    cached = TaskvecEmbedding(model_name="mini", dimensions=8, embeddings_cache=texts, **MODEL)
    cached.get_text_embedding_batch([BREAD, CURIE])
    cached.get_query_embedding(BREAD)
    texts.persist(str(folder / "texts.json"))
    return retrieved(index)


def make_collections(folder: Path, encoder: Encoder) -> None:
    """The same documents in Qdrant's folder, in milvus-lite and in what a Pinecone index would hold."""
    for url in (f"qdrant://{folder / 'qdrant'}", f"milvus://{folder / 'milvus.db'}"):
        for name, options in COLLECTIONS.items():
            with StoreURL.parse(url).open(name, encoder=encoder, **options) as store:
                print(url, name, store.ingest(DOCUMENTS), sep="\n")
    client = QdrantClient(path=str(folder / "qdrant"))
    QdrantStore(client, "named", encoder=encoder, vector_name="text", datatype="float16", dimensions=32).ingest(DOCUMENTS)
    with patch.object(Calls, "accepts", lambda *_: False):  # as with a client that knows no metadata of collections
        QdrantStore(client, "record-in-a-point", encoder=encoder, dimensions=32).ingest(DOCUMENTS)
    client.close()
    namespaces: Namespaces = {}
    for name, options in COLLECTIONS.items():
        PineconeStore(StubIndex(namespaces, 32), namespace=name, encoder=encoder, **options).ingest(DOCUMENTS)
    (folder / "pinecone.json").write_text(json.dumps(namespaces))


def clear(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


if __name__ == "__main__":
    expected: dict[str, Any] = {"references": references()}
    with Encoder.from_pretrained("mini", **MODEL) as mini:
        expected["pickles"] = make_pickles(clear(FOLDER / "pickles"), mini)
        expected["haystack"] = make_haystack(clear(FOLDER / "haystack"))
        expected["llama_index"] = make_llama_index(clear(FOLDER / "llama_index"))
        make_collections(clear(FOLDER / "collections"), mini)
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1))
    for unused in ("qdrant/.lock", "milvus.db/LOCK"):
        (FOLDER / "collections" / unused).unlink()
