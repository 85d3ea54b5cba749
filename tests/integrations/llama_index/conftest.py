"""Embeddings of the bundled model in float32, let go of after each test."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.llama_index_texts import mini_embedding
from taskvec_integrations.llama_index import TaskvecEmbedding

Make = Callable[..., TaskvecEmbedding]


@pytest.fixture
def make() -> Iterator[Make]:
    """A TaskvecEmbedding with the settings of the fixture `mini` and others."""
    made: list[TaskvecEmbedding] = []

    def make(**settings: Any) -> TaskvecEmbedding:
        made.append(mini_embedding(**settings))
        return made[-1]

    yield make
    for embedding in made:
        embedding.close()


@pytest.fixture
def embedding(make: Make) -> TaskvecEmbedding:
    return make()


@pytest.fixture
def late(make: Make) -> TaskvecEmbedding:
    return make(late_chunking=True)
