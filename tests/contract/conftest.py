"""A database for a test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.database import Database
from support.databases import DATABASES, MilvusServer
from support.milvus.polls import hurried

# A collection and a flush take a real Milvus seconds; tests/integrations/milvus runs the main path on it every time.
SLOW = ("milvus-server",)


@pytest.fixture(params=[pytest.param(row, marks=pytest.mark.soak) if row in SLOW else row for row in DATABASES])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "milvus-server":
        MilvusServer.uri = request.getfixturevalue("server_uri")
    opened = DATABASES[request.param](tmp_path)
    yield opened
    opened.close()


@pytest.fixture(scope="session", autouse=True)
def quick_polls() -> Iterator[None]:
    with hurried():
        yield
