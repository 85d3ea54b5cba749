"""`taskvec ingest --ray` on a Ray of its own: what one process makes, nothing twice, Ctrl-C; addresses that lead nowhere."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from support.command_line import GUARD_SECONDS, Done, ingest_arguments, interruptible, process, wait_until_some_are_written
from support.ray_runs import alone, assert_same, in_folder
from taskvec import Encoder
from taskvec_integrations.ingestion.points import uuid_of
from taskvec_integrations.ray import cluster

ON_RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}


def lines_of_taskvec(err: str) -> list[str]:
    """Without the line that the C++ part of Ray writes about what Ray Data does, which nothing but its log level turns off."""
    return [line for line in err.splitlines() if "core_worker.cc" not in line]


def on_ray(folder: Path) -> Done:
    return process("ingest", "docs.jsonl", *ingest_arguments("qdrant://./ray", "--ray", "local"), folder=folder, **ON_RAY)


def test_the_command_on_a_ray_of_its_own(tmp_path: Path, mini: Encoder) -> None:
    documents = [{"id": n, "text": f"Document {n} says {n**2}.", "odd": bool(n % 2)} for n in range(20)]
    (tmp_path / "docs.jsonl").write_text("\n".join(map(json.dumps, documents)) + "\nnot JSON\n")
    first = on_ray(tmp_path)
    assert first.code == 3, first.err
    assert first.counts("documents")["written"] == 20
    (said,) = lines_of_taskvec(first.err)
    assert said.startswith(f"failed: {tmp_path}/docs.jsonl, line 21: it is not JSON")
    alone(tmp_path / "docs.jsonl", f"qdrant://{tmp_path}/alone", encoder=mini)
    assert_same(in_folder(f"qdrant://{tmp_path}/ray"), in_folder(f"qdrant://{tmp_path}/alone"), atol=1e-5)
    again = on_ray(tmp_path)
    assert again.counts("documents") == {"read": 21, "encoded": 0, "written": 0, "skipped": 20, "deleted": 0, "failed": 1}


@pytest.mark.soak
def test_ctrl_c_ends_ray_and_the_same_command_goes_on(tmp_path: Path) -> None:
    count = 1500
    with (tmp_path / "docs.jsonl").open("w") as file:
        for n in range(count):
            file.write(json.dumps({"id": n, "text": f"Document {n} says {n**2}, and goes on about it."}) + "\n")
    command = ["ingest", "docs.jsonl", *ingest_arguments("qdrant://./index", "--ray", "local")]
    with interruptible(*command, folder=tmp_path, **ON_RAY) as run:
        wait_until_some_are_written(run, tmp_path)
        os.killpg(run.pid, signal.SIGINT)
        _, err = run.communicate(timeout=GUARD_SECONDS)
    assert run.returncode == 130, err
    (line,) = lines_of_taskvec(err)
    assert line == "Interrupted. What was written, at least the above, stays: the same command goes on from there."
    again = process(*command, folder=tmp_path, **ON_RAY)
    counts = again.counts("documents")
    assert (again.code, counts["read"], counts["failed"]) == (0, count, 0)
    assert counts["skipped"] > 0
    assert counts["skipped"] + counts["written"] == count
    assert in_folder(f"qdrant://{tmp_path}/index").keys() == {uuid_of(str(n), 0) for n in range(count)}


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ray://10.0.0.1:10001", "is not an address that can be joined: run the command on a machine of the cluster, with auto"),
        ("10.0.0.1", "'10.0.0.1' is not an address that can be joined: use local, auto or HOST:PORT"),
        ("--help:1", "no Ray cluster answers at '--help:1'"),
        ("", "'' is not an address that can be joined"),
        ("127.0.0.1:1", "no Ray cluster answers at '127.0.0.1:1' ([Errno 111] Connection refused): start one with `ray start"),
        ("127.0.0.1:99999", "no Ray cluster answers at '127.0.0.1:99999' ("),
    ],
)
def test_an_address_that_leads_nowhere_is_one_sentence(monkeypatch: pytest.MonkeyPatch, address: str, said: str) -> None:
    monkeypatch.setattr(cluster, "CONNECT_TIMEOUT_SECONDS", 4)
    with pytest.raises((ValueError, ConnectionError), match=re.escape(said)), cluster.join_cluster(address):
        pass


def test_a_head_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_TIMEOUT_SECONDS", 4)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ConnectionError, match=r"\(no answer in 4 s\)"), cluster.join_cluster(address):
            pass


def test_another_server_is_not_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `ray health-check` ends with."""
    monkeypatch.setattr(cluster, "CONNECT_TIMEOUT_SECONDS", GUARD_SECONDS)
    refusal = [sys.executable, "-c", "import sys; sys.exit('a page\\nRpcError: status 404')"]
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda command, **options: run(refusal, **options))
    with pytest.raises(ConnectionError, match=r"at 'auto' \(RpcError: status 404\): start one"), cluster.join_cluster("auto"):
        pass


@pytest.mark.usefixtures("cluster")
def test_a_cluster_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_TIMEOUT_SECONDS", GUARD_SECONDS)
    cluster.check_address(ray.get_runtime_context().gcs_address)
