"""Late chunking of what LlamaIndex's node parsers make, alone and one after another, with offsets and without."""

import logging
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from llama_index.core import Document
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import (
    HierarchicalNodeParser,
    MarkdownNodeParser,
    NodeParser,
    SentenceSplitter,
    SentenceWindowNodeParser,
    TokenTextSplitter,
    get_leaf_nodes,
)
from llama_index.core.schema import BaseNode, TransformComponent

from support.llama_index_texts import ARTICLES, PatternSplitter, articles, assert_equal, embeddings, span_of, text_nodes, texts_of
from taskvec import Encoder
from taskvec_integrations.llama_index import TaskvecEmbedding

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
    sizes: dict[str, NodeParser] = {"large": sentences(embedding, 60), "small": sentences(embedding, 16)}
    return HierarchicalNodeParser.from_defaults(node_parser_ids=list(sizes), node_parser_map=sizes)


# Parsers that say where each node starts, one way or another.
PLACED: dict[str, Splitters] = {
    "pattern": lambda embedding: [PatternSplitter(pattern=" ")],
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
        return span_of(node)[0] + (start(by_id[node.parent_node.node_id]) if node.parent_node else 0)

    spans = [(start(node), start(node) + len(text)) for node, text in zip(nodes, texts_of(nodes), strict=True)]
    assert [MARKDOWN[first:stop] for first, stop in spans] == texts_of(nodes)
    (expected,) = mini.encode_spans([MARKDOWN], [spans])
    assert_equal(embeddings(nodes), expected)


def test_the_leaves_of_a_hierarchy_are_stitched_without_their_parents(late: TaskvecEmbedding, mini: Encoder) -> None:
    leaves = get_leaf_nodes(hierarchical(late)([Document(text=MARKDOWN)]))
    assert [span_of(leaf)[0] for leaf in leaves].count(0) > 1  # each counts from the start of its parent
    places = iter(re.finditer("|".join(re.escape(text) for text in texts_of(leaves)), MARKDOWN))
    spans = [next(places).span() for _ in leaves]
    assert [MARKDOWN[start:stop] for start, stop in spans] == texts_of(leaves)
    (expected,) = mini.encode_spans([MARKDOWN], [spans])
    assert_equal(embeddings(late(leaves)), expected)


def test_a_splitter_after_another_one_is_stitched_by_section(late: TaskvecEmbedding, mini: Encoder) -> None:
    chain = [MarkdownNodeParser(include_metadata=False), sentences(late, 16), late]
    nodes = IngestionPipeline(transformations=chain).run(documents=[Document(text=MARKDOWN)])
    assert len(nodes) > 5
    assert any(node.start_char_idx is None for node in text_nodes(nodes))  # LlamaIndex looks for all of them in one section
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
        IngestionPipeline(transformations=[PatternSplitter(), late]).run(documents=articles())
        assert not caplog.records
        nodes = IngestionPipeline(transformations=[PatternSplitter(), Shorten(), late]).run(documents=articles())
    assert "in 2 of 3 documents (first: curie) start_char_idx and end_char_idx do not fit" in caplog.text
    chunks = [[node.get_content() for node in nodes if node.ref_doc_id == name] for name in ("curie", "berlin")]
    assert_equal(embeddings(nodes[:6]), np.concatenate(mini.encode_chunks(chunks)))
    # A text of another content and the same length contradicts its neighbour where they overlap.
    nodes = TokenTextSplitter(chunk_size=8, chunk_overlap=3, tokenizer=str.split)([Document(text=ARTICLES["berlin"])])
    for node in text_nodes(nodes):
        node.text = node.text[::-1]
    caplog.clear()
    late(nodes)
    assert "in 1 of 1 documents" in caplog.text
    assert_equal(embeddings(nodes), mini.encode_chunks([texts_of(nodes)])[0])
