"""embeddings_cache, whose keys are bare texts in LlamaIndex: a vector comes back for its own task, width and model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.storage.kvstore import SimpleKVStore

from support.checkpoints import random_weights, write_native
from support.llama_index_texts import TEXTS, articles, assert_equal, both_ways, check_cached
from support.loop_probe import LoopProbe
from taskvec import Encoder
from taskvec_integrations import lazy_encoder
from taskvec_integrations.llama_index import TaskvecEmbedding

Make = Callable[..., TaskvecEmbedding]


def values(store: SimpleKVStore) -> int:
    return len(store.get_all("embeddings"))


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that were encoded, and not found."""
    texts: list[str] = []
    right = Encoder.encode

    def encode(self: Encoder, given: Any, **options: Any) -> Any:
        texts.extend(given)
        return right(self, given, **options)

    monkeypatch.setattr(Encoder, "encode", encode)
    return texts


def test_a_query_never_gets_the_vector_of_a_passage(make: Make, mini: Encoder) -> None:
    store = SimpleKVStore()
    check_cached(make(embeddings_cache=store), mini)
    assert values(store) == len(TEXTS) + 1


def test_what_is_in_the_cache_is_not_encoded_again(make: Make, mini: Encoder, encoded: list[str]) -> None:
    store = SimpleKVStore()
    embedding = make(embeddings_cache=store)
    assert embedding.embeddings_cache is store
    both_ways(embedding)
    assert sorted(encoded) == sorted([*TEXTS, TEXTS[0]])
    del encoded[:]
    check_cached(make(embeddings_cache=store, dimensions=384), mini)
    assert encoded == []


def test_other_settings_have_vectors_of_their_own(make: Make, mini: Encoder, native: Path, tmp_path: Path) -> None:
    store = SimpleKVStore()
    check_cached(make(embeddings_cache=store), mini)
    check_cached(make(embeddings_cache=store, dimensions=64), mini, dimensions=64)
    other = make(embeddings_cache=store, document_task=None, query_task=None)
    assert_equal(other.get_text_embedding(TEXTS[0]), mini.encode(TEXTS[0], task=None))
    assert values(store) == 2 * (len(TEXTS) + 1) + 1
    assert other.get_query_embedding(TEXTS[0]) == other.get_text_embedding(TEXTS[0])
    assert values(store) == 2 * (len(TEXTS) + 1) + 1  # one task, one vector
    for seed in (1, 2):  # another model in the same folder
        folder = write_native(tmp_path / "model", random_weights(seed=seed))
        trained = TaskvecEmbedding(model_name=str(folder), device="cpu", dtype="float32", embeddings_cache=store)
        with Encoder.from_pretrained(folder, device="cpu", dtype="float32") as encoder:
            assert_equal(trained.get_text_embedding(TEXTS[0]), encoder.encode_documents(TEXTS[0]))
        trained.close()


def test_a_cache_that_comes_later_is_keyed_too(make: Make, mini: Encoder) -> None:
    embedding = make()
    embedding.embeddings_cache = SimpleKVStore()
    check_cached(embedding, mini)


def test_the_model_is_not_loaded_in_the_event_loop(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = LoopProbe(monkeypatch)
    probe.watch(lazy_encoder, "shared_encoder")
    probe.run(make(embeddings_cache=SimpleKVStore()).aget_query_embedding("a"))
    assert probe.answered == ["shared_encoder"]


def test_late_chunking_leaves_the_cache_alone(make: Make) -> None:
    store = SimpleKVStore()
    make(late_chunking=True, embeddings_cache=store)(articles())
    assert values(store) == 0


def test_what_is_not_a_store_is_refused(make: Make) -> None:
    with pytest.raises(TypeError, match="embeddings_cache must be of type BaseKVStore"):
        make(embeddings_cache={})
