"""Which Documents were split from one text, in which order, and what late chunking reads for that text.

Knows the metadata that Haystack's splitters write (`source_id`, `split_id`), no models.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from haystack import Document

from haystack_integrations.components.embedders.taskvec.stitching import Chunk, Key, source_of, stitch
from taskvec.integration import Span

Around = Callable[[Sequence[Document]], tuple[str, str]]
"""What is read before and after the text of some Documents, as context alone."""


@dataclass(frozen=True)
class Reading:
    """What the encoder reads for one source: a text and spans, and for each span the rows of the Documents it is of."""

    text: str
    spans: list[Span]
    rows: list[list[int]]
    misplaced: int


@dataclass
class Source:
    """The Documents of one text, and what lies between it and them, each once: by what it was split from and its number."""

    chunks: dict[tuple[Key | None, Key], Chunk] = field(default_factory=dict)

    def add(self, chunk: Chunk) -> bool:
        """Take a chunk, or the rows of one that came before; False for another text under the same number."""
        held = self.chunks.setdefault((chunk.source, chunk.document.id if chunk.number is None else chunk.number), chunk)
        if held.content != chunk.content:
            return False
        if held is not chunk:
            held.rows.extend(chunk.rows)
        return True

    def read(self, around: Around) -> Reading:
        """The text with the spans of the Documents that are to be embedded."""
        chunks = sorted(self.chunks.values(), key=lambda chunk: chunk.order)
        head, tail = around([chunk.document for chunk in chunks])
        text, spans, misplaced = stitch(chunks)
        wanted = [(span, chunk.rows) for span, chunk in zip(spans, chunks, strict=True) if chunk.rows]
        moved = [(start + len(head), stop + len(head)) for (start, stop), _ in wanted]
        return Reading(head + text + tail, moved, [rows for _, rows in wanted], misplaced)


def group(documents: Sequence[Document], rows: Iterable[int], sources: Sequence[Document]) -> list[list[Source]]:
    """The Documents in `rows` by the text that they come from: lists of one Source, or of more where different texts share an id.

    `sources` are texts that Documents were split from, which give them context. A Document that was not split is its own source.
    """
    known: dict[Key | None, Document] = {document.id: document for document in (*documents, *sources)}
    found: dict[Key, list[Source]] = {}
    for row in rows:
        line = _ancestry(documents[row], known)
        root = source_of(line[-1])
        copies = found.setdefault(line[-1].id if root is None else root, [Source()])
        if not copies[-1].add(_chunk(line, [row])):
            copies.append(Source())
            copies[-1].add(_chunk(line, [row]))
        for generation in range(1, len(line)):
            copies[-1].add(_chunk(line[generation:], []))
    return list(found.values())


def _ancestry(document: Document, known: dict[Key | None, Document]) -> list[Document]:
    """The document, what it was split from, what that was split from, and so on as far as they are known."""
    line, seen = [document], {document.id}
    while (parent := known.get(source_of(line[-1]))) is not None and parent.id not in seen:
        line.append(parent)
        seen.add(parent.id)
    return line


def _chunk(line: Sequence[Document], rows: list[int]) -> Chunk:
    """The first of an ancestry; its order is what a reader of the whole text would find: a text, then the parts of it."""
    parts = [Chunk(document, (), rows) for document in reversed(line) if source_of(document) is not None]
    return Chunk(line[0], tuple(part.offset or 0 if part.number is None else part.number for part in parts), rows)
