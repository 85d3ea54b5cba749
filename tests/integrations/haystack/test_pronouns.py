"""On documents whose chunks say "it" and "she", late chunking in a normal pipeline finds more of the right chunks."""

import json

import numpy as np
from haystack import Document, Pipeline
from haystack.components.preprocessors import DocumentSplitter
from haystack.components.retrievers import InMemoryEmbeddingRetriever
from haystack.components.writers import DocumentWriter
from haystack.document_stores.in_memory import InMemoryDocumentStore

from haystack_integrations.components.embedders.taskvec import TaskvecDocumentEmbedder, TaskvecTextEmbedder
from support.paths import ANAPHORA

KEPT = 36  # of 72, six of each kind: enough to tell, and quick


def reciprocal_ranks(late: bool) -> np.ndarray:
    """For every question, one by the rank of the chunk that answers it; 0 beyond the tenth."""
    documents = json.loads(ANAPHORA.read_text())["documents"][:KEPT]
    store = InMemoryDocumentStore(embedding_similarity_function="dot_product")
    documents_embedder = TaskvecDocumentEmbedder("mini", late_chunking=late, progress_bar=False)
    index = Pipeline()
    index.add_component("splitter", DocumentSplitter(split_by="passage", split_length=1))
    index.add_component("embedder", documents_embedder)
    index.add_component("writer", DocumentWriter(store))
    index.connect("splitter", "embedder.documents")
    index.connect("embedder.documents", "writer")
    index.run({"splitter": {"documents": [Document(id=item["id"], content="\n\n".join(item["chunks"])) for item in documents]}})
    embedder, retriever = TaskvecTextEmbedder("mini"), InMemoryEmbeddingRetriever(store)
    ranks = []
    for item in documents:
        for asked in item["questions"]:
            found = retriever.run(embedder.run(asked["question"])["embedding"])["documents"]
            hits = [(hit.meta["source_id"], hit.meta["split_id"]) == (item["id"], asked["chunk"]) for hit in found]
            ranks.append(1 / (1 + hits.index(True)) if True in hits else 0.0)
    embedder.close()
    documents_embedder.close()
    return np.array(ranks)


def test_late_chunking_finds_more_of_the_right_chunks() -> None:
    plain, late = reciprocal_ranks(late=False), reciprocal_ranks(late=True)
    difference = late - plain
    samples = np.random.default_rng(0).choice(difference, (2000, len(difference))).mean(axis=1)
    low, high = np.percentile(samples, [2.5, 97.5])
    figures = f"MRR@10 {plain.mean():.3f} -> {late.mean():.3f}, first {np.mean(plain == 1):.3f} -> {np.mean(late == 1):.3f}"
    print(f"{len(plain)} questions: {figures}, difference {low:.3f} to {high:.3f}")
    assert low > 0.02
