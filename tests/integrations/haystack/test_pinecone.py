"""An index and a search through Haystack's own store for Pinecone, over the emulated service."""

import gc

import numpy as np
import pytest
from haystack import Document, Pipeline
from haystack.components.writers import DocumentWriter
from haystack.utils import Secret
from haystack_integrations.components.retrievers.pinecone import PineconeEmbeddingRetriever
from haystack_integrations.document_stores.pinecone import PineconeDocumentStore

from haystack_integrations.components.embedders.taskvec import TaskvecDocumentEmbedder, TaskvecTextEmbedder
from support.pinecone.emulator import INDEX, KEY, pinecone
from taskvec import Encoder

TEXTS = ["Yeast turns sugar into gas.", "The moon pulls at the sea."]
QUESTION = "Why are there tides?"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pinecone-haystack 7 leaves a client open
def test_the_store_of_haystack_holds_passages_and_is_asked_with_queries(mini: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    with pinecone() as server:
        monkeypatch.setenv("PINECONE_CONTROLLER_HOST", server.url)
        store = PineconeDocumentStore(api_key=Secret.from_token(KEY), index=INDEX, dimension=384)
        index, search = Pipeline(), Pipeline()
        index.add_component("embedder", TaskvecDocumentEmbedder("mini", dtype="float32", progress_bar=False))
        index.add_component("writer", DocumentWriter(store))
        index.connect("embedder.documents", "writer.documents")
        index.run({"embedder": {"documents": [Document(id=str(place), content=text) for place, text in enumerate(TEXTS)]}})
        search.add_component("embedder", TaskvecTextEmbedder("mini", dtype="float32"))
        search.add_component("retriever", PineconeEmbeddingRetriever(document_store=store, top_k=1))
        search.connect("embedder.embedding", "retriever.query_embedding")
        (hit,) = search.run({"embedder": {"text": QUESTION}})["retriever"]["documents"]
        stored = server.stored("default")
        store.close()
        gc.collect()
        (asked,) = [request.body["vector"] for request in server.sent("query")]
    assert hit.content == TEXTS[1]
    np.testing.assert_array_equal(np.array([stored[id].values for id in "01"], np.float32), mini.encode_documents(TEXTS))
    np.testing.assert_array_equal(np.array(asked, np.float32), mini.encode_queries(QUESTION))
