"""An emulated Pinecone, sync and async indexes behind one face, so that a test is written once, and stores."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from support.pinecone.emulator import PineconeServer, pinecone
from support.pinecone.indexes import SCHEMA, VERSION, Face, faces, sync_index
from support.pinecone.stores import NARROW_WIDTH, Connect, OpenStore
from taskvec import Encoder
from taskvec_integrations.pinecone import PineconeStore
from taskvec_integrations.pinecone.backend import PineconeBackend

KINDS = ["sync", "async"]


@pytest.fixture
def server() -> Iterator[PineconeServer]:
    """An index of a dimension and a metric."""
    with pinecone() as server:
        yield server


@pytest.fixture(params=KINDS)
def face(request: pytest.FixtureRequest, server: PineconeServer, mini: Encoder) -> Iterator[Face]:
    """A TaskvecIndex or an AsyncTaskvecIndex."""
    with faces(request.param, server.url, encoder=mini) as face:
        yield face


@pytest.fixture
def document_server() -> Iterator[PineconeServer]:
    """A document index."""
    if VERSION < 10:
        pytest.skip("documents came with SDK 10")
    with pinecone(schema=SCHEMA) as server:
        yield server


@pytest.fixture(params=KINDS)
def documents(request: pytest.FixtureRequest, document_server: PineconeServer, mini: Encoder) -> Iterator[Face]:
    """The documents of a TaskvecIndex or an AsyncTaskvecIndex."""
    with faces(request.param, document_server.url, encoder=mini, vector_fields={"embedding": "text"}) as face:
        yield face.documents


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries again at once, the store and the SDK."""
    monkeypatch.setattr(PineconeBackend, "first_wait", 0.01)
    monkeypatch.setattr("pinecone._internal.http_client._retry_sleep", lambda seconds: None, raising=False)  # from SDK 10 on


@pytest.fixture
def narrow() -> Iterator[PineconeServer]:
    """An index as wide as the vectors of `short`."""
    with pinecone(NARROW_WIDTH) as server:
        yield server


@pytest.fixture
def connect(narrow: PineconeServer, short_waits: None) -> Iterator[Connect]:
    """Makes indexes of the SDK, and closes them."""
    with ExitStack() as stack:

        def connect_to(server: PineconeServer = narrow, **options: Any) -> Any:
            return stack.enter_context(closing(sync_index(server.url, **options)))

        yield connect_to


@pytest.fixture
def open_store(narrow: PineconeServer, connect: Connect, short: Encoder) -> OpenStore:
    """Opens stores; each call opens a new one, as a new run would."""

    def open_one(server: PineconeServer = narrow, namespace: str = "docs", **options: Any) -> PineconeStore:
        return PineconeStore(connect(server), namespace=namespace, encoder=short, **options)

    return open_one
