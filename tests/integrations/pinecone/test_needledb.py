"""The classic path against needledb, a server with Pinecone's API that nobody here wrote; it searches by vectors only."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from urllib.error import URLError
from urllib.request import Request, urlopen

import numpy as np
import pytest

from pinecone_emulator import KEY
from pinecone_support import IDS, QUESTION, TEXTS, WIDTH, records, sync_index
from taskvec import Encoder
from taskvec_integrations.pinecone import TaskvecIndex, TaskvecInference


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The host of an index that needledb serves."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("needledb")
    command = [sys.executable, "-m", "needledb", "serve", "--data", str(folder), "--port", str(port), "--api-key", KEY]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log, env=os.environ) as server:
        try:
            yield _create(f"http://127.0.0.1:{port}")
        finally:
            server.terminate()


def _create(root: str) -> str:
    body = json.dumps({"name": "docs", "dimension": WIDTH, "metric": "cosine"}).encode()
    headers = {"Api-Key": KEY, "Content-Type": "application/json"}
    deadline = time.monotonic() + 30
    while True:
        try:
            urlopen(Request(f"{root}/indexes", body, headers)).close()
            return f"{root}/indexes/docs"
        except URLError:
            assert time.monotonic() < deadline, "needledb did not start"
            time.sleep(0.05)


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
