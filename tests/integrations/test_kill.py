"""`kill -9` in the middle of ingesting, and the same run again: nothing lost, nothing doubled, little encoded twice."""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from milvus_lite.server_manager import server_manager_instance
from pymilvus import MilvusClient
from qdrant_client import QdrantClient

from support.paths import ROOT, TESTS
from support.qdrant.http import stub_qdrant
from taskvec_integrations.ingestion.backend import Backend
from taskvec_integrations.ingestion.points import uuid_of
from taskvec_integrations.ingestion.upload import MAX_WAITING_BATCHES

KINDS = ("path", "http", "milvus-lite", "milvus-server")
CHILD = TESTS / "support" / "ingest_child.py"
# What may be under way: the encoder's block and the one before it (32 characters for each of 256 tokens of a batch; a chunk has
# more than 30), the batch being filled, those that wait and the one being written.
CAPACITY = 2 * (32 * 256 // 30) + (MAX_WAITING_BATCHES + 2) * Backend.max_batch_points


@contextmanager
def child(model: Path, where: str, count: int, late: bool, counter: Path) -> Iterator[subprocess.Popen[str]]:
    counter.write_bytes(struct.pack("q", 0))
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'core'}:{ROOT / 'integrations'}", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(CHILD), str(model), where, str(count), "late" if late else "plain", str(counter)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def taken(counter: Path) -> int:
    (number,) = struct.unpack("q", counter.read_bytes())
    return int(number)


def held(client: QdrantClient) -> dict[str, tuple[str, int]]:
    points, _ = client.scroll("docs", limit=10**6, with_payload=["document_id", "chunk"])
    return {point.id: (point.payload["document_id"], point.payload["chunk"]) for point in points}


@pytest.fixture
def empty_server(server_uri: str) -> str:
    client = MilvusClient(server_uri)
    client.drop_collection("docs")
    client.close()
    return server_uri


def held_by_milvus(uri: str) -> dict[str, tuple[str, int]]:
    client = MilvusClient(uri)
    fields = ["id", "document_id", "chunk"]
    client.load_collection("docs")
    rows = client.query("docs", filter='id != ""', output_fields=fields, consistency_level="Strong")
    client.close()
    server_manager_instance.release_server(uri)  # one process at a time has the file
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: (row["document_id"], row["chunk"]) for row in rows}


@pytest.mark.parametrize(
    ("count", "kind", "late"),
    [
        (1500, "path", False),
        (1500, "http", True),
        (1500, "milvus-lite", False),
        *(pytest.param(20_000, kind, late, marks=pytest.mark.soak) for kind in KINDS for late in (False, True)),
    ],
)
def test_a_killed_run_goes_on(
    request: pytest.FixtureRequest, tmp_path: Path, native: Path, kind: str, count: int, late: bool
) -> None:
    counter = tmp_path / "counter"
    with stub_qdrant() as server:
        where = server.url if kind == "http" else str(tmp_path / "index")
        if kind.startswith("milvus"):
            uri = request.getfixturevalue("empty_server") if kind == "milvus-server" else str(tmp_path / "milvus.db")
            where = f"milvus:{uri}"

        def look() -> dict[str, tuple[str, int]]:
            if kind.startswith("milvus"):
                return held_by_milvus(uri)
            if kind == "http":
                return held(server.client)
            with closing(QdrantClient(path=where)) as client:
                return held(client)

        with child(native, where, count, late, counter) as process:
            assert process.stdout
            for line in process.stdout:
                if int(line) >= count // 15:  # a third of the documents
                    break
            process.kill()
        first, before = taken(counter), look()
        assert count // 3 <= len(before) < count
        assert first - len(before) <= CAPACITY
        with child(native, where, count, late, counter) as process:
            printed, _ = process.communicate(timeout=600)
        report: dict[str, Any] = json.loads(printed.splitlines()[-1])
        after = look()
    assert after == {uuid_of(str(n), chunk): (str(n), chunk) for n in range(count // 5) for chunk in range(5)}
    assert report["chunks"]["written"] == count - len(before)
    # Under late chunking a document of which a part was written is encoded once more as a whole.
    assert count - len(before) <= taken(counter) <= count - len(before) + (4 if late else 0)
    assert report["most_under_way"] <= CAPACITY
    assert first + taken(counter) <= count + CAPACITY
