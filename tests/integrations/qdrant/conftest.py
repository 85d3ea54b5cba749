"""Clients over every backend there is without a server binary, sync and async behind one face, so that a test is written once."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.qdrant.points import Face
from support.qdrant.server import Server, serving
from taskvec import Encoder
from taskvec_integrations.qdrant import AsyncTaskvecQdrantClient, TaskvecQdrantClient


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def client(mini: Encoder) -> Iterator[TaskvecQdrantClient]:
    """The simplest one: in memory."""
    client = TaskvecQdrantClient(":memory:", encoder=mini)
    yield client
    client.close()


@pytest.fixture
def remote(mini: Encoder, server: Server) -> Iterator[TaskvecQdrantClient]:
    client = TaskvecQdrantClient(url=server.url, encoder=mini)
    yield client
    client.close()


@pytest.fixture(params=["memory", "path", "server"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Where a client's data is: its arguments."""
    if request.param == "server":
        return {"url": request.getfixturevalue("server").url}
    return {"location": ":memory:"} if request.param == "memory" else {"path": str(tmp_path)}


@pytest.fixture(params=[TaskvecQdrantClient, AsyncTaskvecQdrantClient], ids=["sync", "async"])
def face(request: pytest.FixtureRequest, location: dict[str, str], mini: Encoder) -> Iterator[Face]:
    with asyncio.Runner() as runner:
        face = Face(request.param(**location, encoder=mini), runner)
        yield face
        face.close()
