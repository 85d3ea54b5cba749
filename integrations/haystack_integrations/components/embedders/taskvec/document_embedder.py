"""The component of indexing pipelines: Documents get embeddings by the passage task, each alone or as chunks of their sources."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from haystack import Document, component

from haystack_integrations.components.embedders.taskvec.base_embedder import TO_PRECISION, BaseEmbedder, check_texts, log
from haystack_integrations.components.embedders.taskvec.split_documents import LateChunkingInput, group_by_source
from haystack_integrations.components.embedders.taskvec.stitching import source_id
from taskvec import EncodeOptions, Encoder, Task, Usage
from taskvec.integration import DOCUMENT_TASK, Vectors, check_flag, run_in_thread

MISPLACED_WARNING = (
    "taskvec: %d of %d chunks are not where their source and split_idx_start say, or text before them is missing. Each was read "
    "after the chunk before it. Clean documents before they are split (a DocumentPreprocessor cleans them afterwards). If chunks "
    "leave text out, connect what was split to `sources`"
)


@component
@dataclass(eq=False, repr=False)
class TaskvecDocumentEmbedder(BaseEmbedder):
    """Embeds Documents for a document store; with `late_chunking` each chunk in the context of the text it was split from.

        embedder = TaskvecDocumentEmbedder("mini", late_chunking=True)
        documents = embedder.run(splitter.run(articles)["documents"])["documents"]

    Late chunking groups by the `source_id` of any Haystack splitter: let all chunks of a text come in one run. They are joined to
    the text they were split from, overlaps once, and it is read as a whole, in overlapping windows beyond the model's context.

    Args:
        late_chunking: Embed the chunks of a text in its context.
        batch_size: Has no effect and is only logged. Batches are packed by tokens: see max_batch_tokens.
        progress_bar: Draw a bar on stderr.
        meta_fields_to_embed: Names of metadata whose values are put before the text. In late chunking each value stands once
            before the whole text, as context that belongs to no chunk; so do prefix and suffix around it.
        embedding_separator: Follows each of these values.

    The other parameters, and what they raise, are those of TaskvecTextEmbedder.
    """

    operation: ClassVar[Task] = DOCUMENT_TASK

    _: KW_ONLY
    late_chunking: bool = False
    batch_size: int | None = None
    progress_bar: bool = True
    meta_fields_to_embed: list[str] = field(default_factory=list)
    embedding_separator: str = "\n"

    def __post_init__(self) -> None:
        BaseEmbedder.__post_init__(self)  # super() has lost its class in what @component makes of this one
        check_flag("late_chunking", self.late_chunking)
        check_flag("progress_bar", self.progress_bar)
        check_texts(embedding_separator=self.embedding_separator)
        if isinstance(self.meta_fields_to_embed, str):
            raise TypeError(f"meta_fields_to_embed is {self.meta_fields_to_embed!r}: a list of names was expected")
        self.meta_fields_to_embed = list(self.meta_fields_to_embed or [])
        if self.batch_size is not None:
            log.warning(
                "taskvec: batch_size=%s has no effect, because batches are packed by tokens: use max_batch_tokens",
                self.batch_size,
            )

    @component.output_types(documents=list[Document], meta=dict[str, Any])
    def run(self, documents: list[Document], sources: list[Document] | None = None) -> dict[str, Any]:
        """Embed Documents.

        Args:
            documents: The Documents, or all chunks of some texts.
            sources: The Documents that a splitter made these of, for late chunking. Headers and other text that chunks leave out
                then give context, too.

        Returns:
            "documents", copies with embeddings in the same order, and "meta" with "model", "tokens" (read, special ones
            included), "truncated" (Documents cut at the model's context; never in late chunking), "windows" (of texts longer than
            it) and "fallbacks" (chunks that were not where they should be).

        Raises:
            TypeError: Something else than a list of Documents was passed.
            ValueError: A Document has no content, or the model does not have that many dimensions.
        """
        check_documents("documents", documents)
        check_documents("sources", sources or [])
        check_contents(documents)
        encoder, usage = self._lazy.get(), Usage()
        options: EncodeOptions = {**self._encode_options(encoder), "progress": self.progress_bar, "usage": usage}
        inputs = self._late_chunking_inputs(documents, sources or [])
        embeddings = TO_PRECISION[self.precision](self._encode(encoder, documents, inputs, options)).tolist()
        meta = {"model": encoder.model_id, "tokens": usage.tokens, "truncated": usage.truncated, "windows": usage.windows}
        return {
            "documents": [replace(document, embedding=vector) for document, vector in zip(documents, embeddings, strict=True)],
            "meta": {**meta, "fallbacks": sum(item.misplaced for item in inputs)},
        }

    @component.output_types(documents=list[Document], meta=dict[str, Any])
    async def run_async(self, documents: list[Document], sources: list[Document] | None = None) -> dict[str, Any]:
        """`run` in a thread; cancelling it ends the work at the next batch."""
        return await run_in_thread(self.run, documents, sources)

    def _make_context(self, documents: Sequence[Document]) -> tuple[str, str]:
        """What stands before and after the text of documents: values of their metadata, each once a field, prefix and suffix."""
        before = self.prefix
        for name in self.meta_fields_to_embed:
            values = (document.meta.get(name) for document in documents)
            for value in dict.fromkeys(str(value) for value in values if value is not None):
                before += value + self.embedding_separator
        return before, self.suffix

    def _encode(
        self, encoder: Encoder, documents: list[Document], inputs: list[LateChunkingInput], options: EncodeOptions
    ) -> Vectors:
        """(documents, dimensions) float32: the Documents in `inputs` by late chunking, each other one alone."""
        vectors = np.empty((len(documents), self.dimensions or encoder.dimensions), dtype=np.float32)
        alone = set(range(len(documents)))
        if inputs:
            pooled = encoder.encode_spans([item.text for item in inputs], [item.spans for item in inputs], **options)
            for item, chunks in zip(inputs, pooled, strict=True):
                for rows, vector in zip(item.rows, chunks, strict=True):
                    vectors[rows] = vector
                    alone.difference_update(rows)
        if alone:
            rows = sorted(alone)
            texts = [(documents[row].content or "").join(self._make_context([documents[row]])) for row in rows]
            vectors[rows] = encoder.encode(texts, **options)
        return vectors

    def _late_chunking_inputs(self, documents: list[Document], sources: list[Document]) -> list[LateChunkingInput]:
        """The texts that are read as wholes; Documents without text are in none."""
        if not self.late_chunking:
            return []
        rows = [row for row, document in enumerate(documents) if document.content]
        if rows and sources and not {source_id(documents[row]) for row in rows} & {source.id for source in sources}:
            log.warning(
                "taskvec: no source_id of the documents is the id of one of the %d sources: pass what the splitter was given",
                len(sources),
            )
        groups = group_by_source(documents, rows, sources)
        if ambiguous := sum(len(texts) > 1 for texts in groups):
            log.warning(
                "taskvec: %d source_ids are those of more than one text, so that chunks may have the wrong context: give each "
                "Document an id of its own before it is split",
                ambiguous,
            )
        inputs = [split.to_input(self._make_context) for texts in groups for split in texts]
        if misplaced := sum(item.misplaced for item in inputs):
            log.warning(MISPLACED_WARNING, misplaced, len(rows))
        return inputs


def check_documents(name: str, documents: object) -> None:
    """Raise a TypeError that says where something else than a Document is."""
    if not isinstance(documents, list):
        raise TypeError(
            f"{name} is {type(documents).__name__}, a list of Documents was expected: TaskvecTextEmbedder embeds a single text"
        )
    for index, document in enumerate(documents):
        if not isinstance(document, Document):
            raise TypeError(f"{name}[{index}] is {type(document).__name__}, a Document was expected")


def check_contents(documents: Sequence[Document]) -> None:
    """Raise a ValueError that names the first Document without text."""
    for index, document in enumerate(documents):
        if document.content is None:
            raise ValueError(
                f"document {index} ({document.id}) has no content: leave it out, TaskvecDocumentEmbedder embeds texts only"
            )
