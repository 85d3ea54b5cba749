"""The check of the clients' vectors fails under each subtle mistake that could be made, so passing it means something."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pymilvus import MilvusClient

from support.milvus.checks import AnyClient, check_vectors
from support.mistakes import passages_as_queries, queries_as_passages, tasks_swapped
from taskvec import Encoder
from taskvec_integrations.milvus import TaskvecMilvusClient
from taskvec_integrations.milvus.embed import RowEmbedder

Patch = pytest.MonkeyPatch


def vectors_of_the_neighbour(patch: Patch) -> None:
    right = RowEmbedder._embed
    patch.setattr(RowEmbedder, "_embed", lambda self, *args: right(self, *args)[::-1])


def other_text_embedded(patch: Patch) -> None:
    right = RowEmbedder._row_text
    patch.setattr(RowEmbedder, "_row_text", lambda self, row, *args: row["text"] or right(self, row, *args))


def cut_from_the_end(patch: Patch) -> None:
    right = Encoder.encode

    def encode(self: Encoder, given: Any, *, dimensions: int, **options: Any) -> Any:
        vectors = right(self, given, **options)[..., -dimensions:]
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

    patch.setattr(Encoder, "encode", encode)


MISTAKES = [
    tasks_swapped,
    queries_as_passages,
    passages_as_queries,
    vectors_of_the_neighbour,
    other_text_embedded,
    cut_from_the_end,
]


@pytest.mark.parametrize("any_client", [TaskvecMilvusClient], indirect=True, ids=["sync"])
@pytest.mark.parametrize("make_mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_mistake_is_caught(
    make_mistake: Callable[[Patch], None],
    monkeypatch: Patch,
    any_client: AnyClient,
    plain: MilvusClient,
    mini: Encoder,
    name: str,
) -> None:
    make_mistake(monkeypatch)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_vectors(any_client, plain, mini, name)
