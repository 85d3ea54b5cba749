"""Arguments that a store cannot use are refused with their value and what to use instead, before anything is written."""

from typing import Any

import pytest

from support.fake_backend import FakeBackend, FakeStore
from support.ingest_runs import store_of
from taskvec import Encoder
from taskvec_integrations.store import Document


@pytest.mark.parametrize("documents", ["a text", {"a": "b"}, Document("a", "b"), 3, None], ids=repr)
def test_what_is_not_an_iterable_of_documents_is_refused(small: Encoder, documents: Any) -> None:
    with pytest.raises(TypeError, match=r"documents is .*: a list or another iterable of documents was expected"):
        store_of(small).ingest(documents)


@pytest.mark.parametrize("documents", [("a", "text"), (3, "text")], ids=repr)
def test_a_pair_without_a_list_around_it_is_refused(small: Encoder, documents: Any) -> None:
    with pytest.raises(TypeError, match=r"documents is the tuple \(.*, 'text'\): put it in a list"):
        store_of(small).ingest(documents)
    assert store_of(small).ingest((("a", "text"), ("b", "text"))).chunks.written == 2


def test_a_progress_that_is_not_one_is_refused_before_anything_is_written(small: Encoder) -> None:
    store = store_of(small)
    with pytest.raises(TypeError, match="progress is 5: True, False or a function"):
        store.ingest(["a"], progress=5)  # type: ignore[arg-type]
    assert store.backend.server == {}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"chunk_tokens": 3}, ValueError, "chunk_tokens is 3: use at least 8, or None"),
        ({"chunk_tokens": "many"}, TypeError, "chunk_tokens is 'many'"),
        ({"retry_seconds": -1}, ValueError, "retry_seconds is -1"),
    ],
    ids=["few", "word", "negative"],
)
def test_settings_are_checked_when_a_store_is_made(
    small: Encoder, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        store_of(small, **options)


def test_a_query_that_is_not_a_text_is_refused(small: Encoder) -> None:
    store = store_of(small)
    store.ingest(["a"])
    with pytest.raises(TypeError, match=r"query is \['a'\]: a str was expected"):
        store.search(["a"])  # type: ignore[arg-type]


def test_dimensions_that_the_model_lacks_are_refused_before_a_collection_is_made(small: Encoder) -> None:
    store = FakeStore(FakeBackend({}), encoder=small, dimensions=99)
    with pytest.raises(ValueError, match="dimensions is 99, but this model's vectors have 32"):
        store.ingest(["a"])
    assert store.backend.server == {}
