"""The check of the Haystack components fails under each way they could be subtly wrong, so passing it means something."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from haystack import Document, Pipeline
from haystack.components.preprocessors import DocumentSplitter
from haystack.components.retrievers import InMemoryEmbeddingRetriever
from haystack.components.writers import DocumentWriter
from haystack.core.errors import PipelineRuntimeError
from haystack.document_stores.in_memory import InMemoryDocumentStore

from haystack_integrations.components.embedders.taskvec import (
    TaskvecDocumentEmbedder,
    TaskvecTextEmbedder,
    base_embedder,
    document_embedder,
    split_documents,
    stitching,
)
from haystack_integrations.components.embedders.taskvec.split_documents import LateChunkingInput, MakeContext, SplitDocument
from haystack_integrations.components.embedders.taskvec.stitching import SplitChunk
from support.haystack_texts import BREAD, CITY
from taskvec import Encoder
from taskvec.integration import DOCUMENT_TASK, QUERY_TASK

Patch = pytest.MonkeyPatch
QUESTION = "What is baked in a hot oven?"
WIDTH = 64


def check(encoder: Encoder, late: bool) -> None:
    """Two articles through an indexing pipeline, a question through a query pipeline; a part of one article once more."""
    options: dict[str, Any] = {"dimensions": WIDTH, "dtype": "float32", "device": "cpu"}
    documents = [Document(content=text, meta={"title": text[:9]}) for text in (CITY, BREAD)]
    splitter = DocumentSplitter(split_by="word", split_length=10, split_overlap=3)
    store = InMemoryDocumentStore(embedding_similarity_function="dot_product")
    embedder = TaskvecDocumentEmbedder("mini", late_chunking=late, progress_bar=False, meta_fields_to_embed=["title"], **options)
    index = Pipeline()
    for name, component in (("splitter", splitter), ("embedder", embedder), ("writer", DocumentWriter(store))):
        index.add_component(name, component)
    index.connect("splitter", "embedder.documents")
    index.connect("embedder.documents", "writer")
    index.run({"splitter": {"documents": documents}})
    query = TaskvecTextEmbedder("mini", **options)
    question = query.run(QUESTION)["embedding"]
    np.testing.assert_allclose(question, encoder.encode_queries(QUESTION, dimensions=WIDTH), atol=1e-5)
    wanted: dict[str, np.ndarray] = {}
    for document in documents:
        chunks = splitter.run(documents=[document])["documents"]
        wanted |= vectors(encoder, document, chunks, late)
        few = chunks[::2]
        again = embedder.run(few[::-1], sources=[document])["documents"]
        assert_are(again, vectors(encoder, document, few, late))
    stored = store.filter_documents()
    assert len(stored) == len(wanted)
    assert_are(stored, wanted)
    (best,) = InMemoryEmbeddingRetriever(store, top_k=1).run(question)["documents"]
    assert best.content == max(wanted, key=lambda content: float(wanted[content] @ question))
    query.close()
    embedder.close()


def vectors(encoder: Encoder, document: Document, chunks: list[Document], late: bool) -> dict[str, np.ndarray]:
    head = document.meta["title"] + "\n"
    texts = [chunk.content or "" for chunk in chunks]
    if not late:
        return dict(zip(texts, encoder.encode_documents([head + text for text in texts], dimensions=WIDTH), strict=True))
    starts = [len(head) + chunk.meta["split_idx_start"] for chunk in chunks]
    spans = [(start, start + len(text)) for start, text in zip(starts, texts, strict=True)]
    (rows,) = encoder.encode_spans([head + (document.content or "")], [spans], dimensions=WIDTH)
    return dict(zip(texts, rows, strict=True))


def assert_are(documents: list[Document], wanted: dict[str, np.ndarray]) -> None:
    for document in documents:
        np.testing.assert_allclose(np.array(document.embedding), wanted[document.content or ""], atol=1e-5)


def tasks_swapped(patch: Patch) -> None:
    patch.setattr(TaskvecTextEmbedder, "operation", DOCUMENT_TASK)
    patch.setattr(TaskvecDocumentEmbedder, "operation", QUERY_TASK)


def passage_task_for_both(patch: Patch) -> None:
    patch.setattr(TaskvecTextEmbedder, "operation", DOCUMENT_TASK)


def bare_model(patch: Patch) -> None:
    patch.setattr(base_embedder, "choose_task", lambda task, operation: None)


def full_width(patch: Patch) -> None:
    right = base_embedder.BaseEmbedder._encode_options
    patch.setattr(
        base_embedder.BaseEmbedder, "_encode_options", lambda self, encoder: {**right(self, encoder), "dimensions": None}
    )


def metadata_forgotten(patch: Patch) -> None:
    patch.setattr(TaskvecDocumentEmbedder, "_make_context", lambda self, documents: (self.prefix, self.suffix))


def one_row_off(patch: Patch) -> None:
    right = Encoder.encode
    patch.setattr(Encoder, "encode", lambda self, *texts, **given: np.roll(right(self, *texts, **given), 1, axis=0))


def late_chunking_forgotten(patch: Patch) -> None:
    def alone(self: Any, documents: list[Document], sources: list[Document]) -> list[LateChunkingInput]:
        inputs = []
        for row, document in enumerate(documents):
            before, after = self._make_context([document])
            text = before + (document.content or "") + after
            inputs.append(LateChunkingInput(text, [(len(before), len(text) - len(after))], [[row]], 0))
        return inputs

    patch.setattr(TaskvecDocumentEmbedder, "_late_chunking_inputs", alone)


def offsets_ignored(patch: Patch) -> None:
    patch.setattr(stitching.Stitcher, "_find", lambda self, chunk, frame: None)


def offsets_believed(patch: Patch) -> None:
    patch.setattr(stitching.Stitcher, "_find", lambda self, chunk, frame: chunk.offset and min(chunk.offset + 1, len(self.text)))


def order_of_arrival(patch: Patch) -> None:
    right = split_documents._make_chunk

    def make_chunk(ancestry: Sequence[Document], rows: list[int]) -> SplitChunk:
        chunk = right(ancestry, rows)
        return replace(chunk, order=chunk.order and (99 - chunk.order[0],))

    patch.setattr(split_documents, "_make_chunk", make_chunk)


def sources_not_told_apart(patch: Patch) -> None:
    patch.setattr(split_documents, "source_id", lambda document: "one")


def given_sources_ignored(patch: Patch) -> None:
    right = split_documents.group_by_source
    patch.setattr(document_embedder, "group_by_source", lambda documents, rows, sources: right(documents, rows, []))


def metadata_pooled(patch: Patch) -> None:
    right = SplitDocument.to_input

    def to_input(self: SplitDocument, make_context: MakeContext) -> LateChunkingInput:
        item = right(self, make_context)
        first = min(start for start, _ in item.spans)
        return replace(item, spans=[(0 if start == first else start, stop) for start, stop in item.spans])

    patch.setattr(SplitDocument, "to_input", to_input)


def rows_of_another_chunk(patch: Patch) -> None:
    right = SplitDocument.to_input

    def to_input(self: SplitDocument, make_context: MakeContext) -> LateChunkingInput:
        item = right(self, make_context)
        return replace(item, rows=item.rows[::-1])

    patch.setattr(SplitDocument, "to_input", to_input)


PLAIN: tuple[Callable[[Patch], None], ...] = (
    tasks_swapped,
    passage_task_for_both,
    bare_model,
    full_width,
    metadata_forgotten,
    one_row_off,
)
LATE: tuple[Callable[[Patch], None], ...] = (
    tasks_swapped,
    late_chunking_forgotten,
    offsets_ignored,
    offsets_believed,
    order_of_arrival,
    sources_not_told_apart,
    given_sources_ignored,
    metadata_forgotten,
    metadata_pooled,
    rows_of_another_chunk,
)


@pytest.mark.parametrize("late", [False, True], ids=["plain", "late"])
def test_the_components_pass_as_they_are(late: bool, mini: Encoder) -> None:
    check(mini, late)


@pytest.mark.parametrize(
    ("mutate", "late"),
    [*((mutate, False) for mutate in PLAIN), *((mutate, True) for mutate in LATE)],
    ids=lambda value: getattr(value, "__name__", "late" if value is True else "plain"),
)
def test_a_mistake_is_noticed(mutate: Callable[[Patch], None], late: bool, mini: Encoder, monkeypatch: Patch) -> None:
    wanted = Encoder.from_pretrained("mini", dtype="float32", device="cpu") if mutate is one_row_off else mini
    mutate(monkeypatch)
    with pytest.raises((AssertionError, PipelineRuntimeError)):
        check(wanted, late)
