"""Which Documents were split from one text, in which order, and what late chunking reads for that text.

Knows the metadata that Haystack's splitters write (`source_id`, `split_id`), no models.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from haystack import Document

from haystack_integrations.components.embedders.taskvec.stitching import SourceId, SplitChunk, source_id, stitch
from taskvec.integration import Span

MakeContext = Callable[[Sequence[Document]], tuple[str, str]]
"""From the Documents of a text to what is read before and after that text, as context alone."""


@dataclass(frozen=True)
class LateChunkingInput:
    """What the encoder reads for one text, and where the vectors go.

    Attributes:
        text: The text with its context before and after.
        spans: The characters of `text` that each vector is pooled from.
        rows: For each span the rows of the Documents that get its vector.
        misplaced: How many chunks were not where they say.
    """

    text: str
    spans: list[Span]
    rows: list[list[int]]
    misplaced: int


@dataclass
class SplitDocument:
    """The Documents that were split from one text, directly or in several steps, each once.

    Attributes:
        chunks: By the id of what a chunk was split from, and its number there (its own id where it has no number).
    """

    chunks: dict[tuple[SourceId | None, SourceId], SplitChunk] = field(default_factory=dict)

    def add(self, chunk: SplitChunk) -> bool:
        """Add a chunk, or its rows if the chunk is there already; False if another text has its number."""
        number = chunk.document.id if chunk.number is None else chunk.number
        known = self.chunks.setdefault((chunk.source, number), chunk)
        if known.content != chunk.content:
            return False
        if known is not chunk:
            known.rows.extend(chunk.rows)
        return True

    def to_input(self, make_context: MakeContext) -> LateChunkingInput:
        """The text with the spans of the Documents that are to be embedded."""
        chunks = sorted(self.chunks.values(), key=lambda chunk: chunk.order)
        before, after = make_context([chunk.document for chunk in chunks])
        text, spans, misplaced = stitch(chunks)
        pooled = [(span, chunk.rows) for span, chunk in zip(spans, chunks, strict=True) if chunk.rows]
        shifted = [(start + len(before), stop + len(before)) for (start, stop), _ in pooled]
        return LateChunkingInput(before + text + after, shifted, [rows for _, rows in pooled], misplaced)


def group_by_source(documents: Sequence[Document], rows: Iterable[int], sources: Sequence[Document]) -> list[list[SplitDocument]]:
    """Group Documents by the text that they were split from.

    Args:
        documents: All Documents of a run.
        rows: Those to group, by their places in `documents`. One that was not split is a group by itself.
        sources: Texts that Documents were split from, which give them context.

    Returns:
        For each id of a text, in the order of its first Document, one SplitDocument, or more if different texts share the id.
    """
    by_id: dict[SourceId | None, Document] = {document.id: document for document in (*documents, *sources)}
    groups: dict[SourceId, list[SplitDocument]] = {}
    for row in rows:
        ancestry = _ancestry(documents[row], by_id)
        root = source_id(ancestry[-1])
        texts = groups.setdefault(ancestry[-1].id if root is None else root, [SplitDocument()])
        if not texts[-1].add(_make_chunk(ancestry, [row])):
            texts.append(SplitDocument())
            texts[-1].add(_make_chunk(ancestry, [row]))
        for generation in range(1, len(ancestry)):
            texts[-1].add(_make_chunk(ancestry[generation:], []))
    return list(groups.values())


def _ancestry(document: Document, by_id: dict[SourceId | None, Document]) -> list[Document]:
    """The document, what it was split from, what that was split from, and so on as far as they are known."""
    ancestry, seen = [document], {document.id}
    while (parent := by_id.get(source_id(ancestry[-1]))) is not None and parent.id not in seen:
        ancestry.append(parent)
        seen.add(parent.id)
    return ancestry


def _make_chunk(ancestry: Sequence[Document], rows: list[int]) -> SplitChunk:
    """The first of an ancestry; its order is what a reader of the whole text would find: a text, then the parts of it."""
    parts = [SplitChunk(document, (), rows) for document in reversed(ancestry) if source_id(document) is not None]
    order = tuple(part.offset or 0 if part.number is None else part.number for part in parts)
    return SplitChunk(ancestry[0], order, rows)
