"""Clients on every kind of Qdrant that needs no server binary; sync and async ones are called alike, so a test is written once."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from support.qdrant.edge_server import EdgeServer, edge_server
from support.qdrant.http import StubQdrant, stub_qdrant
from support.qdrant.points import AnyClient
from taskvec import Encoder
from taskvec_integrations.qdrant import AsyncTaskvecQdrantClient, TaskvecQdrantClient
from taskvec_integrations.qdrant.backend import QdrantBackend

TIMEOUT_SECONDS = 120
"""Qdrant's own 5 seconds are too few on a busy machine."""


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QdrantBackend, "first_wait", 0.01)


@pytest.fixture
def server() -> Iterator[EdgeServer]:
    with edge_server() as server:
        yield server


@pytest.fixture
def client(mini: Encoder) -> Iterator[TaskvecQdrantClient]:
    """The simplest one: in memory."""
    client = TaskvecQdrantClient(":memory:", encoder=mini)
    yield client
    client.close()


@pytest.fixture
def remote(mini: Encoder, server: EdgeServer) -> Iterator[TaskvecQdrantClient]:
    client = TaskvecQdrantClient(url=server.url, encoder=mini, timeout=TIMEOUT_SECONDS)
    yield client
    client.close()


@pytest.fixture(params=["memory", "path", "server"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Where a client's data is: its arguments."""
    if request.param == "server":
        return {"url": request.getfixturevalue("server").url, "timeout": TIMEOUT_SECONDS}
    return {"location": ":memory:"} if request.param == "memory" else {"path": str(tmp_path)}


@pytest.fixture(params=[TaskvecQdrantClient, AsyncTaskvecQdrantClient], ids=["sync", "async"])
def any_client(request: pytest.FixtureRequest, location: dict[str, Any], mini: Encoder) -> Iterator[AnyClient]:
    with asyncio.Runner() as runner:
        client = AnyClient(request.param(**location, encoder=mini), runner)
        yield client
        client.close()


@pytest.fixture
def stub() -> Iterator[StubQdrant]:
    """The stand-in server for stores."""
    with stub_qdrant() as stub:
        yield stub


@pytest.fixture
def stub_client(stub: StubQdrant) -> Iterator[QdrantClient]:
    """Qdrant's own client of the stand-in."""
    client = QdrantClient(stub.url, check_compatibility=False, timeout=TIMEOUT_SECONDS)
    yield client
    client.close()
