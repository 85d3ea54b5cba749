"""Full-width vectors in bulk: 2 MB a request, 429s, reset connections and `kill -9`, with nothing lost or doubled."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from integrations.pinecone.soak_child import WIDTH, text_of, vector_of
from support.checkpoints import Shape, random_weights, write_native
from support.paths import ROOT
from support.pinecone.emulator import MAX_BODY, PineconeServer, pinecone

CHILD = Path(__file__).with_name("soak_child.py")
COUNTS = [300, pytest.param(5000, marks=pytest.mark.soak)]


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape = Shape(width=WIDTH, layers=1, heads=4, inner=8, positions=34)
    return write_native(tmp_path_factory.mktemp("wide") / "model", random_weights(shape))


@contextmanager
def child(model: Path, url: str, count: int) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'core'}:{ROOT / 'integrations'}", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(CHILD), str(model), url, str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def finished(process: subprocess.Popen[str]) -> dict[str, Any]:
    printed, _ = process.communicate(timeout=900)
    report: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return report


def assert_complete(server: PineconeServer, count: int) -> None:
    records = server.stored("docs").values()
    assert sorted(int(record.fields["document_id"]) for record in records) == list(range(count))
    for record in records:
        text = text_of(int(record.fields["document_id"]))
        assert record.fields["text"] == text
        np.testing.assert_array_equal(record.values, vector_of(text))


def assert_large(server: PineconeServer, count: int) -> None:
    """Requests were nearly as large as they may be, and none was too large."""
    sizes = [request.size for request in server.sent("vectors/upsert") if request.namespace or len(request.body) > 1]
    assert max(sizes) <= MAX_BODY
    assert 413 not in {request.status for request in server.requests}
    if count >= 5000:
        assert sorted(sizes)[len(sizes) // 2] > 0.95 * MAX_BODY


@pytest.mark.parametrize("count", COUNTS)
def test_all_of_it_lands_through_trouble(wide: Path, count: int) -> None:
    with pinecone(WIDTH, lag=3) as server:
        server.fail(429, "vectors/upsert", every=4, headers={"Retry-After": "1"})
        server.fail("reset", "vectors/upsert", every=7, landed=True)
        with child(wide, server.url, count) as process:
            report = finished(process)
        assert report["chunks"]["written"] == report["chunks"]["encoded"] == count
        assert_complete(server, count)
        assert_large(server, count)
        with child(wide, server.url, count) as process:
            assert finished(process)["chunks"]["encoded"] == 0
        print(report, len(server.sent("vectors/upsert")), max(request.size for request in server.sent("vectors/upsert")))


@pytest.mark.parametrize("count", COUNTS)
def test_a_killed_run_goes_on(wide: Path, count: int) -> None:
    with pinecone(WIDTH, lag=3) as server:
        server.fail(429, "vectors/upsert", every=9, headers={"Retry-After": "1"})
        server.fail("reset", "vectors/upsert", every=11)
        with child(wide, server.url, count) as process:
            assert process.stdout
            for line in process.stdout:
                if int(line) >= count // 3:
                    break
            process.kill()
        before = len(server.stored("docs"))
        with child(wide, server.url, count) as process:
            report = finished(process)
        assert report["chunks"]["skipped"] == before
        assert report["chunks"]["written"] == count - before
        assert_complete(server, count)
        print(before, report)
