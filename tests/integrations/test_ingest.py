"""What a run leaves in the collection: over a database in a dictionary, after edits, refusals and documents that come twice."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.fake_backend import FakeBackend, FakeCollection, FakeStore, refuse_bad
from support.ingest_runs import store_of, texts
from taskvec import Encoder
from taskvec_integrations.ingestion.documents import Input
from taskvec_integrations.ingestion.report import Failure
from taskvec_integrations.store import Document

WORDS = ("one", "two", "three", "bad")
MAX_EXAMPLES = 60
DOCUMENT = st.tuples(st.sampled_from("abc"), st.lists(st.sampled_from(WORDS), min_size=1, max_size=4), st.sampled_from((1, 2)))


@settings(max_examples=MAX_EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=st.lists(st.lists(DOCUMENT, max_size=6), min_size=1, max_size=3), late=st.booleans(), payloads=st.booleans())
def test_the_collection_is_what_a_dictionary_would_be(
    small: Encoder, runs: list[list[tuple[str, list[str], int]]], late: bool, payloads: bool
) -> None:
    server: dict[str, FakeCollection] = {}
    model: dict[tuple[str, int], tuple[str, int]] = {}
    for run in runs:
        backend = FakeBackend(server, trouble=refuse_bad, writes_payloads=payloads, max_batch_points=3)
        report = FakeStore(backend, encoder=small, late_chunking=late).ingest(
            Document(id, chunks=words, payload={"v": version}) for id, words, version in run
        )
        assert report.documents.read == len(run) == report.documents.done
        assert report.chunks.read == sum(len(words) for _, words, _ in run) == report.chunks.done
        for id, words, version in run:
            if "bad" not in words:  # otherwise the older version is all there is, and none of it is deleted
                model = {key: value for key, value in model.items() if key[0] != id or key[1] < len(words)}
            model |= {(id, chunk): (word, version) for chunk, word in enumerate(words) if word != "bad"}
    points = server["docs"].points.values()
    stored = {(fields["document_id"], fields["chunk"]): (fields["text"], fields["v"]) for fields, _ in points}
    # A chunk that was refused leaves the one before it, which the plain dictionary forgets nothing of either.
    assert stored == model
    if not late:
        for fields, vector in points:
            np.testing.assert_allclose(vector, small.encode_documents(fields["text"]), atol=1e-6)


def test_a_new_payload_for_a_chunk_that_was_refused(small: Encoder) -> None:
    store = store_of(small, refuse_bad)
    report = store.ingest([Document("a", chunks=["bad", "good"], payload={"v": version}) for version in (1, 2)])
    assert report.failed == [Failure("a", "a bad word", 0)] * 2
    assert (report.documents.failed, report.chunks.written, report.chunks.failed) == (2, 2, 2)


@pytest.mark.parametrize("payload", [{"v": 1}, {"v": 2}], ids=["same payload", "new payload"])
def test_what_was_refused_long_before_does_not_count(small: Encoder, payload: dict[str, int]) -> None:
    store = store_of(small, refuse_bad, threaded=False, max_batch_points=1)
    store.ingest([Document("a", chunks=["one", "two", "three"], payload={"v": 1})])
    again: list[Input] = [
        Document("a", chunks=["bad"], payload={"v": 1}),
        *texts(2000),
        Document("a", chunks=["one", "two"], payload=payload),
    ]
    assert store.ingest(again).failed == [Failure("a", "a bad word", 0)]
    stored = [(fields["chunk"], fields["text"], fields["v"]) for fields in store.fields if fields["document_id"] == "a"]
    assert stored == [(0, "one", payload["v"]), (1, "two", payload["v"])]


def test_a_backend_without_payload_writes_encodes_again(small: Encoder) -> None:
    store = store_of(small, writes_payloads=False)
    store.ingest([Document("a", "text", payload={"v": 1})])
    report = store.ingest([Document("a", "text", payload={"v": 2})])
    assert (report.chunks.encoded, report.chunks.written) == (1, 1)
    assert [fields["v"] for fields in store.fields] == [2]


def test_finish_is_called_when_something_was_written(small: Encoder) -> None:
    store = store_of(small)
    store.ingest(texts(3))
    store.ingest(texts(3))
    assert store.backend.finished == 1


def test_a_second_maker_of_the_collection_finds_the_first_ones(small: Encoder) -> None:
    server: dict[str, FakeCollection] = {}

    def raced(method: str, batch: Any) -> None:
        if method == "create" and not server:
            FakeStore(FakeBackend(server), encoder=small).ingest(["first"])
            raise PermissionError("it exists already")

    FakeStore(FakeBackend(server, trouble=raced), encoder=small).ingest(["second"])
    assert len(server["docs"].points) == 2
