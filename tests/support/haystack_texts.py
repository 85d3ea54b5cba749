"""What Haystack tests share: articles every splitter finds something in, all splitters of Haystack, one call of a component."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tiktoken
from haystack import Document
from haystack.components.preprocessors import (
    CSVDocumentSplitter,
    DocumentSplitter,
    EmbeddingBasedDocumentSplitter,
    HierarchicalDocumentSplitter,
    MarkdownHeaderSplitter,
    PythonCodeSplitter,
    RecursiveDocumentSplitter,
)

from haystack_integrations.components.embedders.taskvec import TaskvecDocumentEmbedder, TaskvecTextEmbedder

QUESTION = "Why does bread rise?"
CITY = """# Berlin

Berlin is the capital of Germany and its largest city. It lies on the river Spree, in the flat north-east.
Nearly four million people live there.

## Its past

From 1961 to 1989 a wall divided it. The wall fell in November. Many came and saw that!\f

## Its museums

They draw millions of visitors. One of them shows the altar of Pergamon, another a bust of Nefertiti."""
BREAD = """# Sourdough

Sourdough is bread that rises with wild yeast. The starter is a paste of flour and water.\fIt is fed every day.

## How it is baked

The dough rests overnight in a cool place. Then it goes into a very hot oven. A crust forms within minutes.
Steam keeps it soft at first."""
CODE = '''"""Shapes and their areas."""

import math


class Circle:
    """A round one."""

    def __init__(self, radius):
        self.radius = radius

    def area(self):
        return math.pi * self.radius**2


def total(shapes):
    """All of it."""
    return sum(shape.area() for shape in shapes)
'''
TABLES = "city,people\nBerlin,3800000\n,\n,\nbread,hours\nrye,24\nwheat,12\n"


@dataclass(frozen=True)
class Splitting:
    """A way to split texts.

    Attributes:
        make_splitter: Makes the splitter.
        texts: What it is tried with.
        verbatim: Whether the chunks, joined, are the whole text again.
    """

    make_splitter: Callable[[], Any]
    texts: tuple[str, ...] = (CITY, BREAD)
    verbatim: bool = True

    def split(self, documents: list[Document]) -> list[Document]:
        """The chunks of documents."""
        splitter = self.make_splitter()
        if hasattr(splitter, "_tiktoken_tokenizer"):
            splitter._tiktoken_tokenizer = BYTES
        if getattr(splitter, "split_units", "") == "token":
            splitter.tiktoken_tokenizer, splitter._is_warmed_up = BYTES, True
        chunks: list[Document] = splitter.run(documents=documents)["documents"]
        return chunks


# A tokenizer of one byte a token, because the real ones are downloaded.
BYTES = tiktoken.Encoding("bytes", pat_str=r"[\s\S]", mergeable_ranks={bytes([b]): b for b in range(256)}, special_tokens={})


def paragraphs(text: str) -> list[str]:
    """A splitting function that keeps all of the text."""
    return re.findall(r".+?(?:\n\n|\Z)", text, re.DOTALL)


def by(unit: Any, length: int, overlap: int = 0, **other: Any) -> Callable[[], DocumentSplitter]:
    """A DocumentSplitter."""
    return lambda: DocumentSplitter(split_by=unit, split_length=length, split_overlap=overlap, **other)


SPLITTINGS = {
    "word": Splitting(by("word", 9)),
    "word overlapping": Splitting(by("word", 9, 4)),
    "word with threshold": Splitting(by("word", 9, 2, split_threshold=5)),
    "word at sentences": Splitting(by("word", 12, 3, respect_sentence_boundary=True)),
    "period": Splitting(by("period", 1)),
    "passage": Splitting(by("passage", 2, 1)),
    "page": Splitting(by("page", 1)),
    "line": Splitting(by("line", 3, 1)),
    "sentence": Splitting(by("sentence", 2, 1)),
    "function": Splitting(by("function", 1, splitting_function=paragraphs)),
    "token": Splitting(by("token", 40, 10)),
    "recursive": Splitting(lambda: RecursiveDocumentSplitter(split_length=12, separators=["\n\n", "\n", " "])),
    "recursive overlapping": Splitting(lambda: RecursiveDocumentSplitter(split_length=12, split_overlap=5)),
    "recursive characters": Splitting(
        lambda: RecursiveDocumentSplitter(split_length=50, split_overlap=9, split_unit="char", separators=["\n\n", " "])
    ),
    "recursive tokens": Splitting(
        lambda: RecursiveDocumentSplitter(split_length=50, split_unit="token", separators=["\n\n", " "])
    ),
    "markdown": Splitting(MarkdownHeaderSplitter),
    "markdown, then words": Splitting(lambda: MarkdownHeaderSplitter(secondary_split="word", split_length=8, split_overlap=3)),
    "markdown, then periods": Splitting(lambda: MarkdownHeaderSplitter(secondary_split="line", split_length=1)),
    "hierarchical": Splitting(lambda: HierarchicalDocumentSplitter(block_sizes={30, 12, 5})),
    "hierarchical overlapping": Splitting(lambda: HierarchicalDocumentSplitter(block_sizes={30, 8}, split_overlap=3)),
    "by embeddings": Splitting(
        lambda: EmbeddingBasedDocumentSplitter(
            document_embedder=TaskvecDocumentEmbedder("mini", progress_bar=False), sentences_per_group=1, percentile=0.5
        )
    ),
    "code": Splitting(
        lambda: PythonCodeSplitter(min_effective_lines=1, max_effective_lines=3, preserve_class_definition=False), (CODE,)
    ),
    "code with classes": Splitting(lambda: PythonCodeSplitter(min_effective_lines=1, max_effective_lines=3), (CODE,), False),
    "csv": Splitting(CSVDocumentSplitter, (TABLES,), False),
    "csv by rows": Splitting(lambda: CSVDocumentSplitter(split_mode="row-wise"), (TABLES[:21],), False),
}


def embed_one(embedder: TaskvecTextEmbedder | TaskvecDocumentEmbedder, text: str = QUESTION) -> tuple[np.ndarray, dict[str, Any]]:
    """The embedding of one text by either component, and the meta."""
    if isinstance(embedder, TaskvecTextEmbedder):
        result = embedder.run(text)
        return np.array(result["embedding"]), result["meta"]
    result = embedder.run([Document(content=text)])
    return np.array(result["documents"][0].embedding), result["meta"]
