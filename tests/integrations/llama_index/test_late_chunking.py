"""Late chunking as a transformation: the vectors of encode_spans, whatever splitter, index or pipeline brought the nodes."""

import asyncio
import json
import logging
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.callbacks import CallbackManager
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index.core.node_parser import (
    HierarchicalNodeParser,
    MarkdownNodeParser,
    NodeParser,
    SentenceSplitter,
    SentenceWindowNodeParser,
    TokenTextSplitter,
    get_leaf_nodes,
)
from llama_index.core.schema import BaseNode, NodeRelationship, RelatedNodeInfo, TextNode, TransformComponent
from llama_index.core.storage.kvstore import SimpleKVStore

from support.llama_index_texts import (
    ARTICLES,
    QUESTIONS,
    Callbacks,
    Pieces,
    articles,
    assert_equal,
    check_late,
    check_scores,
    instrumented,
    late_vectors,
    stored,
    texts_of,
)
from support.paths import ANAPHORA
from taskvec import Encoder
from taskvec_integrations.llama_index import TaskvecEmbedding

Make = Callable[..., TaskvecEmbedding]


def embeddings(nodes: Any) -> list[Any]:
    return [node.embedding for node in nodes]


@pytest.mark.parametrize("settings", [{}, {"embed_batch_size": 1}, {"embed_batch_size": 4, "dimensions": 100}])
def test_a_pipeline_gives_the_vectors_of_encode_spans(make: Make, mini: Encoder, settings: dict[str, int]) -> None:
    check_late(make(late_chunking=True, **settings), mini)


def test_so_does_an_async_one(late: TaskvecEmbedding, mini: Encoder) -> None:
    pipeline = IngestionPipeline(transformations=[Pieces(), late])
    nodes = asyncio.run(pipeline.arun(documents=articles()))
    assert_equal(embeddings(nodes), late_vectors(mini, nodes))


def test_an_index_stores_them_and_embeds_queries_alone(late: TaskvecEmbedding, mini: Encoder) -> None:
    first, *others = articles()
    index = VectorStoreIndex.from_documents([first], transformations=[Pieces(), late], embed_model=late)
    for document in others:
        index.insert(document)
    nodes, vectors = stored(index)
    assert_equal(vectors, late_vectors(mini, nodes))
    assert not np.allclose(vectors, mini.encode_documents(texts_of(nodes)), atol=0.01)
    check_scores(index, mini, vectors, texts_of(nodes))


def test_so_does_an_async_index(late: TaskvecEmbedding, mini: Encoder) -> None:
    async def main() -> None:
        index = VectorStoreIndex([], transformations=[Pieces(), late], embed_model=late, use_async=True)
        for document in articles():
            await index.ainsert(document)
        nodes, vectors = stored(index)
        assert_equal(vectors, late_vectors(mini, nodes))
        retriever = index.as_retriever(similarity_top_k=9)
        found = {hit.text: hit.score for hit in await retriever.aretrieve(QUESTIONS[0])}
        scores = np.array(vectors) @ mini.encode_queries(QUESTIONS[0])
        np.testing.assert_allclose([found[text] for text in texts_of(nodes)], scores, atol=1e-5)

    asyncio.run(main())


def test_an_update_makes_the_whole_document_anew(late: TaskvecEmbedding, mini: Encoder) -> None:
    index = VectorStoreIndex.from_documents(articles(), transformations=[Pieces(), late], embed_model=late)
    text = "Prague is the capital of Czechia. The city has 1.4 million inhabitants. It lies on the Spree."
    assert index.refresh_ref_docs([*articles()[:1], Document(id_="berlin", text=text)]) == [False, True]
    nodes, vectors = stored(index)
    (expected,) = mini.encode_spans([text], [[(0, 33), (34, 71), (72, 93)]])
    assert_equal([vector for node, vector in zip(nodes, vectors, strict=True) if node.ref_doc_id == "berlin"], expected)


# Which nodes are a document


def test_nodes_of_several_documents_may_come_mixed_and_in_any_order(late: TaskvecEmbedding, mini: Encoder) -> None:
    nodes = Pieces()(articles())
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
    nodes = Pieces()(articles())
    for dimensions in (16, 32):
        make(late_chunking=True, dimensions=dimensions)(nodes)
        assert_equal(embeddings(nodes), late_vectors(mini, nodes, dimensions=dimensions))


def test_metadata_of_the_document_is_context_and_in_no_vector(late: TaskvecEmbedding, mini: Encoder) -> None:
    documents = articles(country="France", secret="never to be embedded")
    for document in documents:
        document.excluded_embed_metadata_keys = ["secret"]
    nodes = Pieces()(documents)
    for page, node in enumerate(nodes):
        node.metadata["page"] = page  # of one node, not of the document
    late(nodes)
    before = "country: France\n\n"
    for name, text in ARTICLES.items():
        own = [node for node in nodes if node.ref_doc_id == name]
        spans = [(node.start_char_idx + len(before), node.end_char_idx + len(before)) for node in own]
        (expected,) = mini.encode_spans([before + text], [spans])
        assert_equal(embeddings(own), expected)
        assert not np.allclose(expected, late_vectors(mini, own)[: len(own)], atol=1e-3)


# Splitters

MARKDOWN = """# Berlin

Berlin is the capital of Germany. The city has 3.8 million inhabitants. It lies on the Spree.

## History

It was founded in the 13th century. From 1961 to 1989 a wall divided it. It is old.

## Culture

It has three opera houses. It is old. Its museums draw millions of visitors every year.
"""

Splitters = Callable[[TaskvecEmbedding], list[TransformComponent]]


def sentences(embedding: TaskvecEmbedding, size: int = 24, overlap: int = 0) -> SentenceSplitter:
    return SentenceSplitter(
        chunk_size=size, chunk_overlap=overlap, tokenizer=embedding.token_count, include_metadata=False, separator=" "
    )


def hierarchical(embedding: TaskvecEmbedding) -> NodeParser:
    sizes = {"large": sentences(embedding, 60), "small": sentences(embedding, 16)}
    return HierarchicalNodeParser.from_defaults(node_parser_ids=list(sizes), node_parser_map=sizes)


# Parsers that say where each node starts, one way or another.
PLACED: dict[str, Splitters] = {
    "pieces": lambda embedding: [Pieces(pattern=" ")],
    "sentences": lambda embedding: [sentences(embedding)],
    "overlapping sentences": lambda embedding: [sentences(embedding, 40, 15)],
    "tokens": lambda embedding: [TokenTextSplitter(chunk_size=20, chunk_overlap=5, tokenizer=embedding.token_count)],
    "windows": lambda embedding: [SentenceWindowNodeParser.from_defaults()],
    "markdown": lambda embedding: [MarkdownNodeParser(include_metadata=False)],
    "levels": lambda embedding: [hierarchical(embedding)],
}


@pytest.mark.parametrize("name", PLACED)
def test_every_splitter_gives_the_vectors_of_the_whole_text(name: str, late: TaskvecEmbedding, mini: Encoder) -> None:
    nodes = IngestionPipeline(transformations=[*PLACED[name](late), late]).run(documents=[Document(text=MARKDOWN)])
    assert len(nodes) > 2
    by_id = {node.node_id: node for node in nodes}

    def start(node: BaseNode) -> int:
        return node.start_char_idx + (start(by_id[node.parent_node.node_id]) if node.parent_node else 0)

    spans = [(start(node), start(node) + len(node.text)) for node in nodes]
    assert [MARKDOWN[first:stop] for first, stop in spans] == texts_of(nodes)
    (expected,) = mini.encode_spans([MARKDOWN], [spans])
    assert_equal(embeddings(nodes), expected)


def test_the_leaves_of_a_hierarchy_are_stitched_without_their_parents(late: TaskvecEmbedding, mini: Encoder) -> None:
    leaves = get_leaf_nodes(hierarchical(late)([Document(text=MARKDOWN)]))
    assert [leaf.start_char_idx for leaf in leaves].count(0) > 1  # each counts from the start of its parent
    places = iter(re.finditer("|".join(re.escape(text) for text in texts_of(leaves)), MARKDOWN))
    spans = [next(places).span() for _ in leaves]
    assert [MARKDOWN[start:stop] for start, stop in spans] == texts_of(leaves)
    (expected,) = mini.encode_spans([MARKDOWN], [spans])
    assert_equal(embeddings(late(leaves)), expected)


def test_a_splitter_after_another_one_is_stitched_by_section(late: TaskvecEmbedding, mini: Encoder) -> None:
    chain = [MarkdownNodeParser(include_metadata=False), sentences(late, 16), late]
    nodes = IngestionPipeline(transformations=chain).run(documents=[Document(text=MARKDOWN)])
    assert len(nodes) > 5
    assert any(node.start_char_idx is None for node in nodes)  # LlamaIndex looks for all of them in one section
    (expected,) = mini.encode_chunks([texts_of(nodes)])
    assert_equal(embeddings(nodes), expected)


class Shorten(TransformComponent):
    """A cleaner in the wrong place: after the splitter."""

    def __call__(self, nodes: Any, **kwargs: Any) -> Any:
        for node in nodes:
            node.text = node.text.replace("the ", "")
        return nodes


def test_offsets_of_another_text_are_not_believed(
    late: TaskvecEmbedding, mini: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "taskvec"):
        IngestionPipeline(transformations=[Pieces(), late]).run(documents=articles())
        assert not caplog.records
        nodes = IngestionPipeline(transformations=[Pieces(), Shorten(), late]).run(documents=articles())
    assert "in 2 of 3 documents (first: curie) start_char_idx and end_char_idx do not fit" in caplog.text
    chunks = [[node.text for node in nodes if node.ref_doc_id == name] for name in ("curie", "berlin")]
    assert_equal(embeddings(nodes[:6]), np.concatenate(mini.encode_chunks(chunks)))
    # A text of another content and the same length contradicts its neighbour where they overlap.
    nodes = TokenTextSplitter(chunk_size=8, chunk_overlap=3, tokenizer=str.split)([Document(text=ARTICLES["berlin"])])
    for node in nodes:
        node.text = node.text[::-1]
    caplog.clear()
    late(nodes)
    assert "in 1 of 1 documents" in caplog.text
    assert_equal(embeddings(nodes), mini.encode_chunks([texts_of(nodes)])[0])


# What is told, what is not blocked


def test_events_callbacks_and_progress(make: Make, capfd: pytest.CaptureFixture[str]) -> None:
    heard = Callbacks()
    embedding = make(late_chunking=True, callback_manager=CallbackManager([heard]), embed_batch_size=4)
    nodes = Pieces()(articles())
    with instrumented() as seen:
        embedding(nodes, show_progress=True)
    assert "Generating embeddings: 100%" in capfd.readouterr().err
    assert [len(chunks) for chunks, _ in heard.embedded] == [6, 3]  # whole documents
    assert [text for chunks, _ in heard.embedded for text in chunks] == texts_of(nodes)
    assert [vector for _, vectors in heard.embedded for vector in vectors] == embeddings(nodes)
    kinds = [type(event) for event in seen if isinstance(event, EmbeddingStartEvent | EmbeddingEndEvent)]
    assert kinds == [EmbeddingStartEvent, EmbeddingEndEvent] * 2
    again = Pieces()(articles())
    asyncio.run(embedding.acall(again))
    assert "Generating" not in capfd.readouterr().err
    assert [chunks for chunks, _ in heard.embedded[2:]] == [chunks for chunks, _ in heard.embedded[:2]]


def test_texts_without_documents_are_said_to_be_embedded_alone(
    late: TaskvecEmbedding, mini: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "taskvec"):
        VectorStoreIndex.from_documents(articles(), transformations=[Pieces(), late], embed_model=late)
        late.get_query_embedding("a")
        assert not caplog.records
        forgotten = VectorStoreIndex.from_documents(articles(), transformations=[Pieces()], embed_model=late)
        forgotten.insert(articles()[0])
    assert [record.message for record in caplog.records if "transformations=[splitter, embedding]" in record.message]
    assert len(caplog.records) == 1
    nodes, vectors = stored(forgotten)
    assert_equal(vectors, mini.encode_documents(texts_of(nodes)))


# What it is for


def ranks(index: VectorStoreIndex, questions: list[tuple[str, str]]) -> np.ndarray:
    """1 / log2(1 + rank) of the right chunk among ten, 0 where it is not there: nDCG@10 of each question."""
    retriever = index.as_retriever(similarity_top_k=10)
    found = [[hit.text for hit in retriever.retrieve(question)] for question, _ in questions]
    return np.array(
        [1 / np.log2(2 + texts.index(right)) if right in texts else 0 for texts, (_, right) in zip(found, questions, strict=True)]
    )


def test_it_finds_more_of_what_pronouns_hide(make: Make) -> None:
    data = json.loads(ANAPHORA.read_text())["documents"]
    questions = [(asked["question"], one["chunks"][asked["chunk"]]) for one in data for asked in one["questions"]]
    gains = []
    queries = SimpleKVStore()  # the same for both
    for late in (True, False):
        embedding = make(late_chunking=late, embeddings_cache=queries)
        documents = [Document(id_=one["id"], text="\n\n".join(one["chunks"])) for one in data]
        transformations = [Pieces(pattern="\n\n"), embedding]
        index = VectorStoreIndex.from_documents(documents, transformations=transformations, embed_model=embedding)
        assert len(index.docstore.docs) == 448
        gains.append(ranks(index, questions))
    difference = gains[0] - gains[1]
    picks = np.random.default_rng(0).integers(len(difference), size=(2000, len(difference)))
    low, high = np.quantile(difference[picks].mean(axis=1), [0.025, 0.975])
    print(f"nDCG@10 late {gains[0].mean():.3f}, without {gains[1].mean():.3f}, difference [{low:.3f}, {high:.3f}]")
    assert low > 0
