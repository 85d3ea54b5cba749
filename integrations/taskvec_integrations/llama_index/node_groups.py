"""Which nodes are chunks of one document, and what of that document they still hold. Knows nodes, not encoders.

LlamaIndex hands a transformation nodes without the documents that they were cut from.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llama_index.core.schema import BaseNode, MetadataMode

from taskvec.integration import Span, Vectors
from taskvec_integrations.llama_index.stitching import Chunk, stitch

log = logging.getLogger("taskvec")


@dataclass(frozen=True)
class Source:
    """A document: its nodes in the order given, a text, and the characters of the text that each node stands for."""

    nodes: Sequence[BaseNode]
    text: str
    spans: Sequence[Span]
    fits: bool = True


def read_sources(nodes: Iterable[BaseNode]) -> list[Source]:
    """Nodes by `ref_doc_id`, in the order of the first of each; one without it or without text of its own is alone."""
    groups: dict[str | int, list[BaseNode]] = {}
    for node in nodes:
        key = node.ref_doc_id if node.ref_doc_id and _text(node) else id(node)
        groups.setdefault(key, []).append(node)
    sources = [_alone(group) if isinstance(key, int) else _document(group) for key, group in groups.items()]
    if stale := [source for source in sources if not source.fits]:
        log.warning(
            "taskvec: in %d of %d documents (first: %s) start_char_idx and end_char_idx do not fit the nodes' texts, which were "
            "joined one after another instead: put what changes texts before the splitter",
            *(len(stale), len(sources), stale[0].nodes[0].ref_doc_id),
        )
    return sources


@dataclass(frozen=True)
class Batch:
    """Documents that are encoded together."""

    sources: Sequence[Source]

    @property
    def documents(self) -> tuple[list[str], list[Sequence[Span]]]:
        """The first two arguments of `encode_spans`."""
        return [source.text for source in self.sources], [source.spans for source in self.sources]

    @property
    def texts(self) -> list[str]:
        """What each node stands for."""
        return [source.text[start:stop] for source in self.sources for start, stop in source.spans]

    def keep(self, vectors: Sequence[Vectors]) -> list[list[float]]:
        """Give nodes their embeddings, from (n_spans, dimensions) for each document; all of them in a list."""
        embeddings: list[list[float]] = [row for rows in vectors for row in rows.tolist()]
        nodes = [node for source in self.sources for node in source.nodes]
        for node, embedding in zip(nodes, embeddings, strict=True):
            node.embedding = embedding
        return embeddings


def batches(sources: Iterable[Source], size: int) -> list[Batch]:
    """Whole documents in order, together until they have at least `size` nodes."""
    taken: list[list[Source]] = [[]]
    count = 0
    for source in sources:
        if count >= size:
            taken.append([])
            count = 0
        taken[-1].append(source)
        count += len(source.nodes)
    return [Batch(sources) for sources in taken if sources]


def _alone(nodes: Sequence[BaseNode]) -> Source:
    """Just what LlamaIndex embeds of a node without late chunking, metadata and all."""
    text = nodes[0].get_content(metadata_mode=MetadataMode.EMBED) or " "  # no span is empty; blanks have no token either
    return Source(nodes, text, [(0, len(text))] * len(nodes))


def _document(nodes: Sequence[BaseNode]) -> Source:
    """The stitched nodes behind the metadata that they share, which gives context and is in nobody's span."""
    by_id = {node.node_id: node for node in nodes}
    chunks = [Chunk(_text(node), _start(node, by_id)) for node in nodes]
    stitched = stitch(chunks)
    metadata = _shared_metadata(nodes)
    before = f"{metadata}\n\n" if metadata else ""
    spans = [(start + len(before), stop + len(before)) for start, stop in stitched.spans]
    return Source(nodes, before + stitched.text, spans, stitched.fits and not any(map(_stale, nodes)))


def _text(node: BaseNode) -> str:
    return node.get_content(metadata_mode=MetadataMode.NONE)


def _start(node: BaseNode, by_id: dict[str, BaseNode]) -> int | None:
    """Where a node starts in its document: HierarchicalNodeParser counts from the start of the parent, which is a node, too."""
    start: int | None = None if _stale(node) else getattr(node, "start_char_idx", None)
    parent = by_id.get(node.parent_node.node_id) if node.parent_node else None
    if start is None or parent is None:
        return start
    before = _start(parent, by_id)
    return None if before is None else before + start


def _stale(node: BaseNode) -> bool:
    """Whether the offsets are of a text of another length, because something changed the node's after the splitter."""
    start, stop = getattr(node, "start_char_idx", None), getattr(node, "end_char_idx", None)
    return start is not None and stop is not None and stop - start != len(_text(node))


def _shared_metadata(nodes: Sequence[BaseNode]) -> str:
    """The metadata for embedding that all nodes of a document have, as LlamaIndex writes it."""
    embedded = [
        {key: str(value) for key, value in node.metadata.items() if key not in node.excluded_embed_metadata_keys}
        for node in nodes
    ]
    first = nodes[0]
    shared = [item for item in embedded[0].items() if all(item in others.items() for others in embedded)]
    return first.metadata_separator.join(first.metadata_template.format(key=key, value=value) for key, value in shared)
