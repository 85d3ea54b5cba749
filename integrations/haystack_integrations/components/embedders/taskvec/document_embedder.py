"""The component of indexing pipelines: Documents get embeddings by the passage task, each alone or as chunks of their sources."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from haystack import Document, component

from haystack_integrations.components.embedders.taskvec.settings import PACK, Embedder, check_texts, log
from haystack_integrations.components.embedders.taskvec.split_documents import Reading, group
from haystack_integrations.components.embedders.taskvec.stitching import source_of
from taskvec import EncodeOptions, Encoder, Task, Usage
from taskvec.integration import DOCUMENT_TASK, Vectors, check_flag, run_in_thread

MISPLACED = (
    "taskvec: %d of %d chunks are not where their source and split_idx_start say, or text before them is missing; they were read "
    "after the chunk before them. Clean documents before they are split (a DocumentPreprocessor does it afterwards), and connect "
    "what was split to `sources`, if chunks leave text out"
)


@component
@dataclass(eq=False, repr=False)
class TaskvecDocumentEmbedder(Embedder):
    """Embeds Documents for a document store; with `late_chunking` each chunk in the context of the text it was split from.

        embedder = TaskvecDocumentEmbedder("mini", late_chunking=True)
        documents = embedder.run(splitter.run(articles)["documents"])["documents"]

    Late chunking groups by the `source_id` of any Haystack splitter: let all chunks of a text come in one run. They are joined to
    the text they were split from, overlaps once, and it is read as a whole, in overlapping windows beyond the model's context.

    batch_size: None; batches are packed by tokens, so that a number here has no effect and is only logged: see max_batch_tokens.
    progress_bar: on stderr. meta_fields_to_embed: metadata put before the text, each followed by embedding_separator; in late
    chunking each value once before the whole text, as context that belongs to no chunk, like prefix and suffix. The other
    parameters are those of TaskvecTextEmbedder, where the task of "auto" is retrieval.passage.
    """

    operation: ClassVar[Task] = DOCUMENT_TASK

    _: KW_ONLY
    late_chunking: bool = False
    batch_size: int | None = None
    progress_bar: bool = True
    meta_fields_to_embed: list[str] = field(default_factory=list)
    embedding_separator: str = "\n"

    def __post_init__(self) -> None:
        Embedder.__post_init__(self)  # super() has lost its class in what @component makes of this one
        check_flag("late_chunking", self.late_chunking)
        check_flag("progress_bar", self.progress_bar)
        check_texts(embedding_separator=self.embedding_separator)
        if isinstance(self.meta_fields_to_embed, str):
            raise TypeError(f"meta_fields_to_embed is {self.meta_fields_to_embed!r}: a list of names was expected")
        self.meta_fields_to_embed = list(self.meta_fields_to_embed or [])
        if self.batch_size is not None:
            log.warning("taskvec: batch_size=%s has no effect, batches are packed by tokens: max_batch_tokens", self.batch_size)

    @component.output_types(documents=list[Document], meta=dict[str, Any])
    def run(self, documents: list[Document], sources: list[Document] | None = None) -> dict[str, Any]:
        """{"documents": copies with embeddings, in order, "meta": {"model", "tokens", "truncated", "windows", "fallbacks"}}.

        sources: the Documents that a splitter made these of, for late chunking: text that chunks leave out still gives context,
        and so do headers. meta: tokens read; documents cut at the model's context (never in late chunking); windows of longer
        sources; fallbacks, the chunks that were not where they should be. TypeError for anything but a list of Documents,
        ValueError for one without content.
        """
        check_documents("documents", documents)
        check_documents("sources", sources or [])
        check_contents(documents)
        encoder, usage = self._lazy.get(), Usage()
        options: EncodeOptions = {**self._options(encoder), "progress": self.progress_bar, "usage": usage}
        late = [row for row, document in enumerate(documents) if self.late_chunking and document.content]
        readings = self._readings(documents, late, sources or [])
        embeddings = PACK[self.precision](self._vectors(encoder, documents, readings, options)).tolist()
        meta = {"model": encoder.model_id, "tokens": usage.tokens, "truncated": usage.truncated, "windows": usage.windows}
        return {
            "documents": [replace(document, embedding=vector) for document, vector in zip(documents, embeddings, strict=True)],
            "meta": {**meta, "fallbacks": sum(reading.misplaced for reading in readings)},
        }

    @component.output_types(documents=list[Document], meta=dict[str, Any])
    async def run_async(self, documents: list[Document], sources: list[Document] | None = None) -> dict[str, Any]:
        """`run` in a thread; cancelling it ends the work at the next batch."""
        return await run_in_thread(self.run, documents, sources)

    def _around(self, documents: Sequence[Document]) -> tuple[str, str]:
        """What stands before and after the text of documents: values of their metadata, each once a field, prefix and suffix."""
        given = [[document.meta.get(name) for document in documents] for name in self.meta_fields_to_embed]
        values = [value for field in given for value in dict.fromkeys(str(value) for value in field if value is not None)]
        return self.prefix + "".join(value + self.embedding_separator for value in values), self.suffix

    def _vectors(self, encoder: Encoder, documents: list[Document], readings: list[Reading], options: EncodeOptions) -> Vectors:
        """(documents, dimensions): those of the readings by late chunking, the others each alone."""
        vectors = np.empty((len(documents), self.dimensions or encoder.dimensions), dtype=np.float32)
        alone = set(range(len(documents)))
        if readings:
            pooled = encoder.encode_spans([item.text for item in readings], [item.spans for item in readings], **options)
            for reading, chunks in zip(readings, pooled, strict=True):
                for rows, vector in zip(reading.rows, chunks, strict=True):
                    vectors[rows] = vector
                    alone.difference_update(rows)
        if alone:
            rows = sorted(alone)
            texts = [(documents[row].content or "").join(self._around([documents[row]])) for row in rows]
            vectors[rows] = encoder.encode(texts, **options)
        return vectors

    def _readings(self, documents: list[Document], rows: list[int], sources: list[Document]) -> list[Reading]:
        if rows and sources and not {source_of(documents[row]) for row in rows} & {source.id for source in sources}:
            log.warning("taskvec: none of the %d sources is what documents were split from, by their source_id", len(sources))
        groups = group(documents, rows, sources)
        if shared := sum(len(copies) > 1 for copies in groups):
            log.warning("taskvec: %d source_ids are shared by different texts; their chunks may have got a wrong context", shared)
        readings = [source.read(self._around) for copies in groups for source in copies]
        if misplaced := sum(reading.misplaced for reading in readings):
            log.warning(MISPLACED, misplaced, len(rows))
        return readings


def check_documents(name: str, documents: object) -> None:
    """Anything but a list of Documents is a TypeError that names the place."""
    if not isinstance(documents, list):
        raise TypeError(
            f"{name} is {type(documents).__name__}, a list of Documents was expected: TaskvecTextEmbedder embeds a single text"
        )
    for index, document in enumerate(documents):
        if not isinstance(document, Document):
            raise TypeError(f"{name}[{index}] is {type(document).__name__}, a Document was expected")


def check_contents(documents: Sequence[Document]) -> None:
    """A Document without a text is a ValueError that names it."""
    for index, document in enumerate(documents):
        if document.content is None:
            raise ValueError(f"document {index} ({document.id}) has no content, TaskvecDocumentEmbedder embeds texts only")
