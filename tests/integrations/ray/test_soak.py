"""50,000 chunks on one machine, fewer on two, with an actor killed in the middle: what one process makes, and nothing twice."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from milvus_lite.server_manager import server_manager_instance
from pymilvus import MilvusClient
from ray.cluster_utils import Cluster

from support.databases import Stored
from support.pinecone.emulator import KEY, pinecone
from support.ray_runs import alone, assert_same, for_workers, in_folder, numbers
from taskvec import Encoder
from taskvec_integrations.ray import ingest_dataset
from taskvec_integrations.store_url import StoreURL

pytestmark = [pytest.mark.soak, pytest.mark.filterwarnings("ignore:Local mode is not recommended:UserWarning")]

CHUNKS = 5  # of a document
SETTINGS: dict[str, Any] = {"dimensions": 64}
POOL: dict[str, Any] = {"concurrency": 2, "num_cpus": 1, "part_documents": 100, "model": "mini", "dtype": "float32"}


def write_parquet(path: Path, documents: int) -> Path:
    texts = [[f"Chunk {chunk} of document {n} says {n**2}." for chunk in range(CHUNKS)] for n in range(documents)]
    kinds = ["odd" if n % 2 else None for n in range(documents)]
    pq.write_table(pa.table({"id": list(range(documents)), "text": texts, "kind": kinds}), path, row_group_size=1000)
    return path


@contextmanager
def machines(number: int) -> Iterator[None]:
    """Ray on this machine alone, or on raylets that only loopback connects, each with a CPU for an actor and one to read."""
    if number == 1:
        ray.init(address="local", num_cpus=3, include_dashboard=False, logging_level=logging.ERROR, object_store_memory=200 << 20)
        yield
        ray.shutdown()
        return
    node: dict[str, Any] = {"num_cpus": 2, "object_store_memory": 100 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    for _ in range(number - 1):
        cluster.add_node(**node)
    ray.init(address=cluster.address, logging_level=logging.ERROR)
    yield
    ray.shutdown()
    cluster.shutdown()  # type: ignore[no-untyped-call]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for_workers(monkeypatch)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def workers(name: str) -> dict[int, int]:
    """Our own Ray processes of a name, with the raylet that each belongs to, whose parent is this process."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cmdline").read_bytes().startswith(f"ray::{name}".encode()):
                raylet = parent(int(folder.name))
                if parent(raylet) == os.getpid():
                    found[int(folder.name)] = raylet
        except FileNotFoundError:
            continue
    return found


class Killer:
    """A progress function that kills a worker once, when a part of the documents is done."""

    def __init__(self, name: str, at: int) -> None:
        self.name = name
        self.at = at
        self.killed = 0
        self.raylets: set[int] = set()

    def watch(self, done: int, total: int | None) -> None:
        self.raylets |= set(workers("MapWorker").values())
        if done >= self.at and not self.killed:
            self.killed = next(iter(workers(self.name)))
            os.kill(self.killed, signal.SIGKILL)


def in_milvus(url: str) -> dict[str, Stored]:
    client = MilvusClient(path := url.removeprefix("milvus://"))
    client.load_collection("docs")
    iterator = client.query_iterator("docs", batch_size=1000, filter='id != ""', output_fields=["*"])
    rows = [dict(row) for batch in iter(iterator.next, []) for row in batch]
    client.close()
    server_manager_instance.release_server(path)  # one process at a time has the file
    return {row.pop("id"): Stored(row, np.array(row.pop("vector"), dtype=np.float32)) for row in rows}


STORES = {"qdrant": ("qdrant://{}", in_folder), "milvus": ("milvus://{}.db", in_milvus)}


@pytest.mark.parametrize(
    ("number", "store", "documents", "victim"),
    [
        pytest.param(1, "qdrant", 10_000, "MapWorker", id="one machine, Qdrant"),
        pytest.param(1, "milvus", 10_000, "MapWorker", id="one machine, milvus-lite"),
        pytest.param(2, "qdrant", 2_000, "MapWorker", id="two machines, Qdrant"),
        pytest.param(2, "milvus", 2_000, "MapWorker", id="two machines, milvus-lite"),
        pytest.param(1, "qdrant", 2_000, "StoreWriter", id="the writer of Qdrant is killed"),
        pytest.param(1, "milvus", 2_000, "StoreWriter", id="the writer of milvus-lite is killed"),
    ],
)
def test_a_lost_actor_loses_nothing(tmp_path: Path, mini: Encoder, number: int, store: str, documents: int, victim: str) -> None:
    documents = int(os.environ.get("TASKVEC_SOAK_DOCUMENTS", documents))  # fewer where others need the machine
    form, points = STORES[store]
    ours, theirs = form.format(tmp_path / "ours"), form.format(tmp_path / "theirs")
    path = write_parquet(tmp_path / "documents.parquet", documents)
    wanted = alone(path, theirs, encoder=mini, **SETTINGS)
    print(f"\nplain\n{wanted}")
    killer = Killer(victim, documents // 3)
    with machines(number):
        report = ingest_dataset(path, ours, collection="docs", progress=killer.watch, **SETTINGS, **POOL)
        print(f"Ray\n{report}")
        again = ingest_dataset(ray.data.read_parquet(str(path)), ours, collection="docs", **SETTINGS, **POOL)
        print(f"again\n{again}")
    assert killer.killed
    assert len(killer.raylets) == number
    assert numbers(report)["failed"] == []
    assert report.chunks.read == wanted.chunks.written == documents * CHUNKS
    assert report.chunks.skipped < report.chunks.read // 3  # those that the killed actor had written
    assert (again.chunks.encoded, again.chunks.written, again.chunks.skipped) == (0, 0, documents * CHUNKS)
    assert_same(points(ours), points(theirs), atol=1e-5)


@pytest.mark.parametrize("kind", ["milvus", "pinecone"])
def test_actors_write_to_servers(tmp_path: Path, mini: Encoder, monkeypatch: pytest.MonkeyPatch, kind: str, request: Any) -> None:
    """A real Milvus; the real SDK of Pinecone against the emulator. What one process would write is there already."""
    path = write_parquet(tmp_path / "documents.parquet", 200)
    monkeypatch.setenv("PINECONE_API_KEY", KEY)
    with ExitStack() as stack:
        if kind == "pinecone":
            url = f"pinecone+{stack.enter_context(pinecone(dimension=64)).url}"
        else:
            url = request.getfixturevalue("server_uri").replace("http://", "milvus://")
        stack.enter_context(machines(1))
        report = ingest_dataset(path, url, collection="docs", **SETTINGS, **POOL)
        assert (report.chunks.written, report.failed) == (200 * CHUNKS, [])
        again = alone(path, url, encoder=mini, **SETTINGS)
        assert (again.chunks.encoded, again.chunks.written, again.chunks.skipped) == (0, 0, 200 * CHUNKS)
        with StoreURL.parse(url).open("docs", encoder=mini, **SETTINGS) as store:
            for number in (3, 77, 199):
                hits = store.search(question := f"What does document {number} say?", limit=3)
                scores = mini.encode_documents([hit.text for hit in hits], dimensions=64) @ mini.encode_queries(
                    question, dimensions=64
                )
                np.testing.assert_allclose([hit.score for hit in hits], scores, atol=1e-4)
