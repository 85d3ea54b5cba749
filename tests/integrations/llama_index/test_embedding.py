"""TaskvecEmbedding by itself: the right vectors by every method, settings, pickles, sharing, secrets, nonsense."""

import asyncio
import copy
import gc
import json
import logging
import pickle
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from llama_index.core.callbacks import CallbackManager
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent

from support.llama_index_texts import QUESTIONS, TEXTS, Callbacks, articles, assert_equal, check_tasks, instrumented
from taskvec import Encoder, Task, shared_encoder
from taskvec_integrations import lazy_encoder
from taskvec_integrations.llama_index import TaskvecEmbedding

Make = Callable[..., TaskvecEmbedding]


def test_passages_and_queries_have_the_vectors_of_their_tasks(embedding: TaskvecEmbedding, mini: Encoder) -> None:
    check_tasks(embedding, mini)


def test_so_they_have_without_blocking_the_loop(embedding: TaskvecEmbedding, mini: Encoder) -> None:
    async def main() -> None:
        passages, queries = mini.encode_documents(TEXTS), mini.encode_queries(QUESTIONS)
        assert_equal(await embedding.aget_text_embedding_batch(TEXTS), passages)
        assert_equal([await embedding.aget_text_embedding(text) for text in TEXTS], passages)
        assert_equal([node.embedding for node in await embedding.acall(articles())], passages)
        assert_equal([await embedding.aget_query_embedding(question) for question in QUESTIONS], queries)
        assert_equal(await embedding.aget_agg_embedding_from_queries(QUESTIONS), queries.mean(axis=0))

    asyncio.run(main())


def test_dimensions_and_other_tasks(make: Make, mini: Encoder) -> None:
    embedding = make(dimensions=100, document_task=Task.SEPARATION, query_task=None)
    assert_equal(embedding.get_text_embedding_batch(TEXTS), mini.encode(TEXTS, task="separation", dimensions=100))
    assert_equal(embedding.get_query_embedding(TEXTS[0]), mini.encode(TEXTS[0], task=None, dimensions=100))
    embedding.dimensions, embedding.query_task = 64, "text-matching"
    assert_equal(embedding.get_query_embedding(TEXTS[0]), mini.encode(TEXTS[0], task="text-matching", dimensions=64))


def test_without_late_chunking_metadata_is_part_of_the_text_as_ever(embedding: TaskvecEmbedding, mini: Encoder) -> None:
    nodes = embedding(articles(kind="fact"))
    assert_equal([node.embedding for node in nodes], mini.encode_documents([f"kind: fact\n\n{text}" for text in TEXTS]))


def test_the_encoder_gets_many_texts_at_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    right = Encoder.encode

    def encode(self: Encoder, texts: Any, **options: Any) -> Any:
        sizes.append(len(texts))
        return right(self, texts, **options)

    monkeypatch.setattr(Encoder, "encode", encode)
    make().get_text_embedding_batch(["a"] * 100)
    make(embed_batch_size=40).get_text_embedding_batch(["a"] * 100)
    assert sizes == [100, 40, 40, 20]
    assert make().get_text_embedding_batch([]) == []


def test_events_and_callbacks(make: Make, mini: Encoder) -> None:
    heard = Callbacks()
    embedding = make(callback_manager=CallbackManager([heard]), dimensions=32, token="hf_secret")
    with instrumented() as seen:
        embedding.get_query_embedding(QUESTIONS[0])
        embedding.get_text_embedding_batch(TEXTS)
    assert [chunks for chunks, _ in heard.embedded] == [QUESTIONS[:1], TEXTS]
    assert_equal(heard.embedded[1][1], mini.encode_documents(TEXTS, dimensions=32))
    ends = [event for event in seen if isinstance(event, EmbeddingEndEvent)]
    assert [event.chunks for event in ends] == [QUESTIONS[:1], TEXTS]
    (start, *_) = [event for event in seen if isinstance(event, EmbeddingStartEvent)]
    assert start.model_dict["class_name"] == "TaskvecEmbedding"
    assert start.model_dict["dimensions"] == 32
    assert "hf_secret" not in str((heard.seen, seen))


def test_token_count_counts_the_models_own_tokens(embedding: TaskvecEmbedding, mini: Encoder) -> None:
    assert [len(embedding.token_count(text)) for text in TEXTS] == [count - 2 for count in mini.count_tokens(TEXTS)]
    assert len(embedding.token_count("")) == 0


# Settings


def test_settings_make_it_again(make: Make) -> None:
    embedding = make(dimensions=64, late_chunking=True, query_task=None, embed_batch_size=7)
    again = TaskvecEmbedding.from_dict(json.loads(embedding.to_json()))
    assert again.to_dict() == embedding.to_dict()
    assert again.dimensions == 64
    assert again.query_task is None


def test_other_names_of_a_setting_are_written_alike(tmp_path: Path) -> None:
    objects: dict[str, Any] = {"model_name": tmp_path, "device": torch.device("cpu"), "dtype": torch.float32}
    named = TaskvecEmbedding(**objects, document_task=Task.SEPARATION)
    same = TaskvecEmbedding(model_name=str(tmp_path), device="cpu", dtype="float32", document_task="separation")
    assert named.to_json() == same.to_json()


def test_the_token_goes_to_the_hub_and_nowhere_else(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[dict[str, Any]] = []

    def load(model: str, **arguments: Any) -> Encoder:
        received.append(arguments)
        return shared_encoder(model, **arguments)

    monkeypatch.setattr(lazy_encoder, "shared_encoder", load)
    embedding = make(token="hf_secret")
    embedding.get_query_embedding("a")
    assert received[0]["token"] == "hf_secret"
    other = make(token="hf_other")
    assert embedding.to_dict() == other.to_dict()  # the hash of a transformation
    shown = (repr(embedding), str(embedding), embedding.to_json(), embedding.to_payload(), repr(embedding._lazy), vars(embedding))
    assert "hf_secret" not in str(shown)
    assert b"hf_secret" not in pickle.dumps(embedding) + pickle.dumps(embedding._lazy)
    with pytest.raises(ValueError, match="late_chunking") as refused:
        make(token="hf_secret", late_chunking="no")
    assert "hf_secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("make_or_use", "error", "message"),
    [
        (lambda make: make(late_chunking="no"), ValueError, "late_chunking\n  Input should be a valid boolean"),
        (lambda make: make(dimensions=0), ValueError, "dimensions\n  Input should be greater than or equal to 1"),
        (lambda make: make(dimensions=True), ValueError, "dimensions\n  Input should be a valid integer"),
        (lambda make: make(document_task="passage"), ValueError, "unknown task 'passage': use one of retrieval.query"),
        (lambda make: make(query_task=["separation"]), ValueError, r"unknown task \['separation'\]"),
        (lambda make: make(dimension=64), ValueError, "dimension\n  Extra inputs are not permitted"),
        (lambda make: make(encoder=3), ValueError, "encoder\n  Input should be an instance of Encoder"),
        (lambda make: TaskvecEmbedding(model_name=3), ValueError, "model_name\n  Input should be a valid str"),  # type: ignore[arg-type]
        (
            lambda make: make(dimensions=500).get_query_embedding("a"),
            ValueError,
            "500, but this model's vectors have 384: use 1 to",
        ),
        (lambda make: make(revision="x").get_query_embedding("a"), ValueError, "has no revision 'x'"),
        (lambda make: make().get_query_embedding(["a"]), TypeError, "text 0 is list: a str was expected"),
        (lambda make: make().get_text_embedding(None), TypeError, "text 0 is NoneType: a str was expected"),
        (lambda make: make().get_text_embedding_batch(["a", 3]), TypeError, "text 1 is int: a str was expected"),
        (lambda make: setattr(make(), "model_name", "other"), ValueError, "model_name\n  Field is frozen"),
        (lambda make: setattr(make(), "dimension", 3), ValueError, "no attribute 'dimension'"),
        (lambda make: setattr(make(), "late_chunking", "no"), ValueError, "late_chunking\n  Input should be a valid boolean"),
        (lambda make: setattr(make(), "query_task", "question"), ValueError, "unknown task 'question'"),
        (lambda make: TaskvecEmbedding(model_name="./nowhere").get_query_embedding("a"), FileNotFoundError, "no model folder"),
    ],
)
def test_nonsense_is_refused(make: Make, make_or_use: Callable[[Make], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make_or_use(make)


# Loading, sharing, pickling


def query_weight(encoder: Encoder) -> torch.Tensor:
    """A weight of the query task."""
    assert encoder._open_pipeline is not None
    weight = getattr(encoder._open_pipeline._runners[0]._bodies.get(Task.RETRIEVAL_QUERY).layers[0].fc1, "weight", None)
    assert isinstance(weight, torch.Tensor)
    return weight


def test_nothing_is_loaded_before_it_is_needed_and_one_model_serves_all(make: Make) -> None:
    alone = {"max_batch_tokens": 8190}  # an encoder that no other test holds
    first, second, bare = make(**alone), make(**alone, dimensions=32, late_chunking=True), make(**alone, query_task=None)
    assert first._lazy._loaded is None
    for embedding in (first, second, bare):
        embedding.get_query_embedding("a")
    encoder = first._lazy.get()
    assert second._lazy.get() is encoder is bare._lazy.get()
    weight = weakref.ref(query_weight(encoder))
    del encoder
    for embedding in (first, second):
        embedding.close()
        embedding.close()
        gc.collect()
        assert weight() is not None
    bare.close()
    gc.collect()
    assert weight() is None
    assert len(first.get_query_embedding("a")) == 384


def test_threads_that_come_first_together_count_as_one_holder(make: Make) -> None:
    embedding = make(max_batch_tokens=8191)  # an encoder that no other test holds
    together = threading.Barrier(8)

    def use() -> None:
        together.wait()
        embedding.get_query_embedding("a")

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    encoder = embedding._lazy.get()
    embedding.close()
    with pytest.raises(RuntimeError, match="is closed"):
        encoder.encode("a")


def test_an_encoder_that_is_loaded_already(mini: Encoder) -> None:
    embedding = TaskvecEmbedding(encoder=mini)
    embedding.dimensions, embedding.dimensions = 32, None  # settings are checked again
    check_tasks(embedding, mini)
    assert embedding._lazy.get() is mini
    assert (embedding.model_name, embedding.dtype, embedding.device) == ("mini", "float32", "cpu")
    embedding.close()
    assert mini.encode("a").shape == (384,)
    again = pickle.loads(pickle.dumps(embedding))
    assert again.encoder is None
    assert_equal(again.get_text_embedding_batch(TEXTS), mini.encode_documents(TEXTS))
    again.close()
    settings: dict[str, Any] = {"dtype": "bfloat16", "model_name": "other", "token": "hf_secret"}
    for name, value in settings.items():
        with pytest.raises(ValueError, match=f"{name} cannot be set beside an encoder") as refused:
            TaskvecEmbedding(encoder=mini, **{name: value})
        assert "hf_secret" not in str(refused.value)


def test_pickles_hold_settings_alone_and_load_nothing(make: Make, mini: Encoder, caplog: pytest.LogCaptureFixture) -> None:
    class Unpicklable(Callbacks):
        def __reduce__(self) -> str:
            raise TypeError("not to be pickled")

    manager = CallbackManager([Unpicklable()])
    embedding = make(dimensions=48, late_chunking=True, callback_manager=manager)
    before = embedding.get_query_embedding("a")
    with caplog.at_level(logging.WARNING):
        pickled = pickle.dumps(embedding)
    assert not caplog.records
    assert len(pickled) < 1500
    assert embedding.callback_manager is manager  # BaseComponent's own __getstate__ deletes it from the living object
    again = pickle.loads(pickled)
    assert again._lazy._loaded is None
    assert again.to_dict() == embedding.to_dict()
    assert_equal(again.get_query_embedding("a"), before)
    again.close()


def test_copies_share_the_model(make: Make) -> None:
    embedding = make(dimensions=16)
    with Encoder.from_pretrained("mini") as loaded:
        for one in (embedding, TaskvecEmbedding(encoder=loaded)):
            vector, encoder = one.get_query_embedding("a"), one._lazy.get()
            for other in (one.model_copy(), copy.copy(one), copy.deepcopy(one)):
                assert other.get_query_embedding("a") == vector
                assert other._lazy.get() is encoder
    shared = embedding._lazy.get()
    embedding.close()
    for encoder in (shared, loaded):
        with pytest.raises(RuntimeError, match="is closed"):
            encoder.encode("a")
