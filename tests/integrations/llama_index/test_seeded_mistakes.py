"""The checks of vectors fail under each way the wiring could be subtly wrong, so passing them means something."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from llama_index.core.schema import BaseNode
from llama_index.core.storage.kvstore import SimpleKVStore

from support.llama_index_texts import check_cached, check_late, check_tasks
from support.mistakes import passages_as_queries, queries_as_passages, tasks_swapped
from taskvec import Encoder
from taskvec_integrations.llama_index import TaskvecEmbedding, embedding, node_groups, stitching
from taskvec_integrations.llama_index.node_groups import NodeGroup, NodeGroupBatch
from taskvec_integrations.llama_index.stitching import PlacedChunk

Patch = pytest.MonkeyPatch
Make = Callable[..., TaskvecEmbedding]


def single_texts_as_queries(patch: Patch) -> None:
    patch.setattr(TaskvecEmbedding, "_get_text_embedding", lambda self, text: self._encode([text], "query")[0])


def cache_keyed_by_text_alone(patch: Patch) -> None:
    patch.setattr(TaskvecEmbedding, "_namespace", lambda self, operation: "")


def cache_of_passages_for_queries(patch: Patch) -> None:
    right = TaskvecEmbedding._with_safe_cache
    patch.setattr(TaskvecEmbedding, "_with_safe_cache", lambda self, operation: right(self, "document"))


def vectors_of_the_neighbour(patch: Patch) -> None:
    right = NodeGroupBatch.set_embeddings
    patch.setattr(NodeGroupBatch, "set_embeddings", lambda self, vectors: right(self, [rows[::-1] for rows in vectors]))


def every_node_alone(patch: Patch) -> None:
    patch.setattr(embedding, "group_nodes", lambda nodes: [node_groups._single_node([node]) for node in nodes])


def all_nodes_one_document(patch: Patch) -> None:
    patch.setattr(embedding, "group_nodes", lambda nodes: [node_groups._document(nodes)])


def late_chunking_left_out(patch: Patch) -> None:
    patch.setattr(embedding, "group_nodes", lambda nodes: [node_groups._document([node]) for node in nodes])


def metadata_forgotten(patch: Patch) -> None:
    patch.setattr(node_groups, "_shared_metadata", lambda nodes: "")


def metadata_pooled(patch: Patch) -> None:
    right = node_groups._document

    def document(nodes: Sequence[BaseNode]) -> Any:
        group = right(nodes)
        return NodeGroup(group.nodes, group.text, [(0, stop) for _, stop in group.spans])

    patch.setattr(node_groups, "_document", document)


def metadata_before_every_node(patch: Patch) -> None:
    right = stitching.stitch

    def stitch(chunks: Sequence[PlacedChunk]) -> Any:
        return right([PlacedChunk(f"country: France\n\n{chunk.text}", None) for chunk in chunks])

    patch.setattr(node_groups, "stitch", stitch)


def one_dimension_too_few(patch: Patch) -> None:
    right = TaskvecEmbedding._options
    patch.setattr(TaskvecEmbedding, "_options", lambda self, operation: {**right(self, operation), "dimensions": 383})


def check_with_cache(model: TaskvecEmbedding, encoder: Encoder) -> None:
    model.embeddings_cache = SimpleKVStore()
    check_cached(model, encoder)


def check_late_chunking(model: TaskvecEmbedding, encoder: Encoder) -> None:
    model.late_chunking = True
    check_late(model, encoder)


Check = Callable[[TaskvecEmbedding, Encoder], None]

CAUGHT: dict[Check, list[Callable[[Patch], None]]] = {
    check_tasks: [tasks_swapped, queries_as_passages, passages_as_queries, single_texts_as_queries, one_dimension_too_few],
    check_with_cache: [tasks_swapped, cache_keyed_by_text_alone, cache_of_passages_for_queries],
    check_late_chunking: [
        passages_as_queries,
        vectors_of_the_neighbour,
        every_node_alone,
        all_nodes_one_document,
        late_chunking_left_out,
        metadata_forgotten,
        metadata_pooled,
        metadata_before_every_node,
        one_dimension_too_few,
    ],
}


@pytest.mark.parametrize("check", CAUGHT, ids=lambda check: check.__name__)
def test_the_checks_pass_where_nothing_is_wrong(check: Check, make: Make, mini: Encoder) -> None:
    check(make(), mini)


@pytest.mark.parametrize(
    ("check", "mutate"),
    [(check, mutate) for check, mutations in CAUGHT.items() for mutate in mutations],
    ids=lambda given: given.__name__,
)
def test_a_mistake_is_caught(
    check: Check, mutate: Callable[[Patch], None], make: Make, mini: Encoder, monkeypatch: Patch
) -> None:
    mutate(monkeypatch)
    with pytest.raises(AssertionError, match=r"Not equal to tolerance|shape"):
        check(make(), mini)
