"""Late chunking as a transformation: the vectors of encode_spans, whatever splitter, index or pipeline brought the nodes."""

import asyncio
import logging
from collections.abc import Callable

import numpy as np
import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.callbacks import CallbackManager
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode

from support.llama_index_texts import (
    ARTICLES,
    QUESTIONS,
    Callbacks,
    PatternSplitter,
    articles,
    assert_equal,
    check_late,
    check_scores,
    embeddings,
    instrumented,
    late_vectors,
    span_of,
    stored,
    texts_of,
)
from taskvec import Encoder
from taskvec_integrations.llama_index import TaskvecEmbedding

Make = Callable[..., TaskvecEmbedding]


@pytest.mark.parametrize("settings", [{}, {"embed_batch_size": 1}, {"embed_batch_size": 4, "dimensions": 100}])
def test_a_pipeline_gives_the_vectors_of_encode_spans(make: Make, mini: Encoder, settings: dict[str, int]) -> None:
    check_late(make(late_chunking=True, **settings), mini)


def test_so_does_an_async_one(late: TaskvecEmbedding, mini: Encoder) -> None:
    pipeline = IngestionPipeline(transformations=[PatternSplitter(), late])
    nodes = asyncio.run(pipeline.arun(documents=articles()))
    assert_equal(embeddings(nodes), late_vectors(mini, nodes))


def test_an_index_stores_them_and_embeds_queries_alone(late: TaskvecEmbedding, mini: Encoder) -> None:
    first, *others = articles()
    index = VectorStoreIndex.from_documents([first], transformations=[PatternSplitter(), late], embed_model=late)
    for document in others:
        index.insert(document)
    nodes, vectors = stored(index)
    assert_equal(vectors, late_vectors(mini, nodes))
    assert not np.allclose(vectors, mini.encode_documents(texts_of(nodes)), atol=0.01)
    check_scores(index, mini, vectors, texts_of(nodes))


def test_so_does_an_async_index(late: TaskvecEmbedding, mini: Encoder) -> None:
    async def main() -> None:
        index = VectorStoreIndex([], transformations=[PatternSplitter(), late], embed_model=late, use_async=True)
        for document in articles():
            await index.ainsert(document)
        nodes, vectors = stored(index)
        assert_equal(vectors, late_vectors(mini, nodes))
        retriever = index.as_retriever(similarity_top_k=9)
        found = {hit.text: hit.score for hit in await retriever.aretrieve(QUESTIONS[0])}
        scores = np.array(vectors) @ mini.encode_queries(QUESTIONS[0])
        assert_equal([found[text] for text in texts_of(nodes)], scores, atol=1e-5)

    asyncio.run(main())


def test_an_update_makes_the_whole_document_anew(late: TaskvecEmbedding, mini: Encoder) -> None:
    index = VectorStoreIndex.from_documents(articles(), transformations=[PatternSplitter(), late], embed_model=late)
    text = "Prague is the capital of Czechia. The city has 1.4 million inhabitants. It lies on the Spree."
    assert index.refresh_ref_docs([*articles()[:1], Document(id_="berlin", text=text)]) == [False, True]
    nodes, vectors = stored(index)
    (expected,) = mini.encode_spans([text], [[(0, 33), (34, 71), (72, 93)]])
    assert_equal([vector for node, vector in zip(nodes, vectors, strict=True) if node.ref_doc_id == "berlin"], expected)


# Which nodes are a document


def test_nodes_of_several_documents_may_come_mixed_and_in_any_order(late: TaskvecEmbedding, mini: Encoder) -> None:
    nodes = PatternSplitter()(articles())
    mixed = [nodes[i] for i in np.random.default_rng(0).permutation(len(nodes))]
    assert late(mixed) is mixed
    assert_equal(embeddings(nodes), late_vectors(mini, nodes))


def test_nodes_without_a_document_and_whole_documents_are_embedded_alone(late: TaskvecEmbedding, mini: Encoder) -> None:
    alone = [TextNode(text="It is old."), TextNode(text="", metadata={"kind": "city"}), TextNode(text="")]
    expected = mini.encode_documents(["It is old.", "kind: city", "", "kind: fact\n\nBread."])
    assert_equal(embeddings(late([*alone, Document(text="Bread.", metadata={"kind": "fact"})])), expected)
    assert list(late([])) == []


def test_a_node_without_text_is_no_chunk(late: TaskvecEmbedding, mini: Encoder) -> None:
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="d")}
    nodes = [TextNode(text=text, relationships=source) for text in ("Berlin is big.", "", "It is old.")]
    expected = mini.encode_chunks([["Berlin is big.", "It is old."]])[0]
    assert_equal(embeddings(late(nodes)), [expected[0], mini.encode_documents(""), expected[1]])


def test_other_settings_replace_embeddings(make: Make, mini: Encoder) -> None:
    nodes = PatternSplitter()(articles())
    for dimensions in (16, 32):
        make(late_chunking=True, dimensions=dimensions)(nodes)
        assert_equal(embeddings(nodes), late_vectors(mini, nodes, dimensions=dimensions))


def test_metadata_of_the_document_is_context_and_in_no_vector(late: TaskvecEmbedding, mini: Encoder) -> None:
    documents = articles(country="France", secret="never to be embedded")
    for document in documents:
        document.excluded_embed_metadata_keys = ["secret"]
    nodes = PatternSplitter()(documents)
    for page, node in enumerate(nodes):
        node.metadata["page"] = page  # of one node, not of the document
    late(nodes)
    before = "country: France\n\n"
    for name, text in ARTICLES.items():
        own = [node for node in nodes if node.ref_doc_id == name]
        spans = [(start + len(before), stop + len(before)) for start, stop in map(span_of, own)]
        (expected,) = mini.encode_spans([before + text], [spans])
        assert_equal(embeddings(own), expected)
        assert not np.allclose(expected, late_vectors(mini, own)[: len(own)], atol=1e-3)


# What is told, what is not blocked


def test_events_callbacks_and_progress(make: Make, capfd: pytest.CaptureFixture[str]) -> None:
    heard = Callbacks()
    embedding = make(late_chunking=True, callback_manager=CallbackManager([heard]), embed_batch_size=4)
    nodes = PatternSplitter()(articles())
    with instrumented() as seen:
        embedding(nodes, show_progress=True)
    assert "Generating embeddings: 100%" in capfd.readouterr().err
    assert [len(chunks) for chunks, _ in heard.embedded] == [6, 3]  # whole documents
    assert [text for chunks, _ in heard.embedded for text in chunks] == texts_of(nodes)
    assert [vector for _, vectors in heard.embedded for vector in vectors] == embeddings(nodes)
    kinds = [type(event) for event in seen if isinstance(event, EmbeddingStartEvent | EmbeddingEndEvent)]
    assert kinds == [EmbeddingStartEvent, EmbeddingEndEvent] * 2
    again = PatternSplitter()(articles())
    asyncio.run(embedding.acall(again))
    assert "Generating" not in capfd.readouterr().err
    assert [chunks for chunks, _ in heard.embedded[2:]] == [chunks for chunks, _ in heard.embedded[:2]]


def test_texts_without_documents_are_said_to_be_embedded_alone(
    late: TaskvecEmbedding, mini: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "taskvec"):
        VectorStoreIndex.from_documents(articles(), transformations=[PatternSplitter(), late], embed_model=late)
        late.get_query_embedding("a")
        assert not caplog.records
        forgotten = VectorStoreIndex.from_documents(articles(), transformations=[PatternSplitter()], embed_model=late)
        forgotten.insert(articles()[0])
    assert [record.message for record in caplog.records if "transformations=[splitter, embedding]" in record.message]
    assert len(caplog.records) == 1
    nodes, vectors = stored(forgotten)
    assert_equal(vectors, mini.encode_documents(texts_of(nodes)))
