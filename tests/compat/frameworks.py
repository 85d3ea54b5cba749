"""Pipelines of LlamaIndex and Haystack that the fixtures were made with, and what goes into them."""

from typing import Any

from haystack import Document as HaystackDocument
from llama_index.core import Document
from llama_index.core.indices.base import BaseIndex
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter

from compat.texts import BERLIN, BREAD
from taskvec_integrations.llama_index import TaskvecEmbedding

LLAMA_OPTIONS: dict[str, Any] = {"dimensions": 16, "late_chunking": True, "document_task": "separation", "embed_batch_size": 64}
"""Of a TaskvecEmbedding; they are part of the keys of a pipeline's cache."""

ARTICLES = {"bread": BREAD, "berlin": BERLIN}
QUESTION = "How many people live in Berlin?"


def articles() -> list[Document]:
    """Fresh documents, as pipelines change them."""
    return [Document(id_=name, text=text, metadata={"title": name}) for name, text in ARTICLES.items()]


def pipeline(embedding: TaskvecEmbedding, **options: Any) -> IngestionPipeline:
    """A splitter and the embedding."""
    splitter = SentenceSplitter(
        chunk_size=16, chunk_overlap=0, tokenizer=embedding.token_count, include_metadata=False, separator=" "
    )
    strategy = DocstoreStrategy.DUPLICATES_ONLY
    return IngestionPipeline(transformations=[splitter, embedding], docstore_strategy=strategy, **options)


def retrieved(index: BaseIndex[Any]) -> list[dict[str, Any]]:
    """What a retriever of the index finds, best first."""
    hits = index.as_retriever(similarity_top_k=3).retrieve(QUESTION)
    return [{"document": hit.node.ref_doc_id, "text": hit.text, "score": [hit.score]} for hit in hits]


def haystack_inputs() -> dict[str, dict[str, Any]]:
    """What the Haystack pipeline of the fixtures is run with."""
    documents = [
        HaystackDocument(id=name, content=text, meta={"title": name}) for name, text in (("bread", BREAD), ("berlin", BERLIN))
    ]
    return {"splitter": {"documents": documents}, "query": {"text": QUESTION}}


def haystack_outputs(outputs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The vectors that the pipeline made, and what it says of them."""
    documents = outputs["documents"]["documents"]
    return {
        "chunks": [document.content for document in documents],
        "vectors": [document.embedding for document in documents],
        "query": outputs["query"]["embedding"],
        "meta": [outputs["documents"]["meta"], outputs["query"]["meta"]],
    }
