"""Which nodes are chunks of one document, and what of that document they still hold. Knows nodes, not encoders.

LlamaIndex hands a transformation nodes without the documents that they were cut from.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llama_index.core.schema import BaseNode, MetadataMode

from taskvec.integration import Span, Vectors
from taskvec_integrations.llama_index.stitching import PlacedChunk, stitch

log = logging.getLogger("taskvec")


@dataclass(frozen=True)
class NodeGroup:
    """The nodes of one document, and what the encoder reads for them.

    Attributes:
        nodes: In the order given.
        text: The document, as far as its nodes hold it, behind the metadata that they share.
        spans: For each node the characters of `text` that it stands for.
        offsets_fit: Whether the nodes' offsets agree with their texts.
    """

    nodes: Sequence[BaseNode]
    text: str
    spans: Sequence[Span]
    offsets_fit: bool = True


def group_nodes(nodes: Iterable[BaseNode]) -> list[NodeGroup]:
    """Group nodes by `ref_doc_id`, in the order of the first of each.

    Args:
        nodes: Nodes of any documents, mixed in any way. One without `ref_doc_id` or without text is a group by itself.

    Returns:
        The groups. A warning is logged if the offsets of nodes do not fit their texts.
    """
    by_document: dict[str | int, list[BaseNode]] = {}
    for node in nodes:
        key = node.ref_doc_id if node.ref_doc_id and _text(node) else id(node)
        by_document.setdefault(key, []).append(node)
    groups = [_single_node(group) if isinstance(key, int) else _document(group) for key, group in by_document.items()]
    if unfit := [group for group in groups if not group.offsets_fit]:
        log.warning(
            "taskvec: in %d of %d documents (first: %s) start_char_idx and end_char_idx do not fit the nodes' texts, which were "
            "therefore joined one after another: transformations that change texts belong before the splitter",
            len(unfit),
            len(groups),
            unfit[0].nodes[0].ref_doc_id,
        )
    return groups


@dataclass(frozen=True)
class NodeGroupBatch:
    """Groups that are encoded together."""

    groups: Sequence[NodeGroup]

    @property
    def texts(self) -> list[str]:
        """The text of each group."""
        return [group.text for group in self.groups]

    @property
    def spans(self) -> list[Sequence[Span]]:
        """The spans of each group."""
        return [group.spans for group in self.groups]

    @property
    def node_texts(self) -> list[str]:
        """What each node stands for."""
        return [group.text[start:stop] for group in self.groups for start, stop in group.spans]

    def set_embeddings(self, vectors: Sequence[Vectors]) -> list[list[float]]:
        """Give each node its embedding.

        Args:
            vectors: (nodes of the group, dimensions) for each group.

        Returns:
            All embeddings, in the order of `node_texts`.
        """
        embeddings: list[list[float]] = [row for rows in vectors for row in rows.tolist()]
        nodes = [node for group in self.groups for node in group.nodes]
        for node, embedding in zip(nodes, embeddings, strict=True):
            node.embedding = embedding
        return embeddings


def batch_groups(groups: Iterable[NodeGroup], size: int) -> list[NodeGroupBatch]:
    """Divide groups into batches, in order; each has whole groups, as many as make at least `size` nodes."""
    batches: list[list[NodeGroup]] = [[]]
    count = 0
    for group in groups:
        if count >= size:
            batches.append([])
            count = 0
        batches[-1].append(group)
        count += len(group.nodes)
    return [NodeGroupBatch(batch) for batch in batches if batch]


def _single_node(nodes: Sequence[BaseNode]) -> NodeGroup:
    """Just what LlamaIndex embeds of a node without late chunking, metadata included."""
    text = nodes[0].get_content(metadata_mode=MetadataMode.EMBED) or " "  # no span is empty; blanks have no token either
    return NodeGroup(nodes, text, [(0, len(text))] * len(nodes))


def _document(nodes: Sequence[BaseNode]) -> NodeGroup:
    """The stitched nodes behind the metadata that they share, which gives context and is in nobody's span."""
    by_id = {node.node_id: node for node in nodes}
    stitched = stitch([PlacedChunk(_text(node), _start(node, by_id)) for node in nodes])
    metadata = _shared_metadata(nodes)
    before = f"{metadata}\n\n" if metadata else ""
    spans = [(start + len(before), stop + len(before)) for start, stop in stitched.spans]
    return NodeGroup(nodes, before + stitched.text, spans, stitched.offsets_fit and not any(map(_is_changed, nodes)))


def _text(node: BaseNode) -> str:
    return node.get_content(metadata_mode=MetadataMode.NONE)


def _start(node: BaseNode, by_id: dict[str, BaseNode]) -> int | None:
    """Where a node starts in its document: HierarchicalNodeParser counts from the start of the parent, which is a node, too."""
    start: int | None = None if _is_changed(node) else getattr(node, "start_char_idx", None)
    parent = by_id.get(node.parent_node.node_id) if node.parent_node else None
    if start is None or parent is None:
        return start
    parent_start = _start(parent, by_id)
    return None if parent_start is None else parent_start + start


def _is_changed(node: BaseNode) -> bool:
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
