"""Servers and clients of the Milvus tests: milvus-lite and a real server, each called through a sync and an async client."""

import uuid
from collections.abc import Iterator

import pytest
from pymilvus import MilvusClient

from support.milvus.checks import AnyClient
from support.milvus.polls import hurried
from taskvec import Encoder
from taskvec_integrations.milvus import AsyncTaskvecMilvusClient, TaskvecMilvusClient


@pytest.fixture(scope="session", autouse=True)
def quick_polls() -> Iterator[None]:
    with hurried():
        yield


@pytest.fixture(scope="session")
def lite_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("lite") / "milvus.db")


@pytest.fixture
def uri(request: pytest.FixtureRequest) -> str:
    """milvus-lite, or what a test names (`on`): the fixture lite_uri or server_uri. A collection takes the server seconds."""
    uri: str = request.getfixturevalue(f"{getattr(request, 'param', 'lite')}_uri")
    return uri


@pytest.fixture
def plain(uri: str) -> Iterator[MilvusClient]:
    """Milvus's own client, to look at what ours did."""
    client = MilvusClient(uri)
    yield client
    client.close()


@pytest.fixture(params=[TaskvecMilvusClient, AsyncTaskvecMilvusClient], ids=["sync", "async"])
def any_client(request: pytest.FixtureRequest, uri: str, mini: Encoder) -> Iterator[AnyClient]:
    """Our client, whose rows get their missing vectors from the field "text"."""
    client = AnyClient(request.param, uri, encoder=mini, text_field="text")
    yield client
    client.close()


@pytest.fixture
def name(uri: str) -> Iterator[str]:
    """A name for a collection, which is dropped afterwards."""
    unique = f"c{uuid.uuid4().hex}"
    yield unique
    client = MilvusClient(uri)  # the test may have closed the others
    client.drop_collection(unique)
    client.close()
