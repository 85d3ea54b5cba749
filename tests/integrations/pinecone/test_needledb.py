"""The classic path against needledb, a server with Pinecone's API that nobody here wrote; it searches by vectors only."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from support.pinecone.indexes import IDS, QUESTION, TEXTS, WIDTH, records, sync_index
from support.pinecone.needledb import create_index, needledb
from taskvec import Encoder
from taskvec_integrations.pinecone import TaskvecIndex, TaskvecInference


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """The host of an index that needledb serves."""
    with needledb(tmp_path) as root:
        yield create_index(root, "docs", WIDTH, "cosine")


def test_another_server_stores_and_finds_the_same(url: str, mini: Encoder) -> None:
    with TaskvecIndex(sync_index(url), mini) as index:
        check(index, mini)


def check(index: TaskvecIndex, mini: Encoder) -> None:
    index.upsert_records(records=records(), namespace="__default__")
    stored = index.fetch(ids=IDS).vectors
    vectors = np.array([stored[id].values for id in IDS], np.float32)
    np.testing.assert_allclose(vectors, mini.encode_documents(TEXTS), rtol=0, atol=1e-6)
    assert stored["nobel"].metadata["text"] == TEXTS[1]
    query = TaskvecInference(mini).embed("mini", QUESTION, {"input_type": "query"})[0]["values"]
    scores = mini.encode_documents(TEXTS) @ mini.encode_queries(QUESTION)
    found = index.query(vector=query, top_k=4, filter={"place": {"$lte": 9}})
    assert [match.id for match in found.matches] == [IDS[place] for place in np.argsort(-scores)]
    np.testing.assert_allclose([match.score for match in found.matches], np.sort(scores)[::-1], atol=1e-5)
    assert index.describe_index_stats().total_vector_count == 4
