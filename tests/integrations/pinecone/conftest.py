"""An emulated Pinecone, and sync and async indexes behind one face, so that a test is written once."""

from collections.abc import Iterator

import pytest

from support.pinecone.emulator import PineconeServer, pinecone
from support.pinecone.indexes import VECTORS, VERSION, Face, faces
from taskvec import Encoder

KINDS = ["sync", "async"]


@pytest.fixture
def server() -> Iterator[PineconeServer]:
    """A classic index, of a dimension and a metric."""
    with pinecone() as server:
        yield server


@pytest.fixture(params=KINDS)
def face(request: pytest.FixtureRequest, server: PineconeServer, mini: Encoder) -> Iterator[Face]:
    with faces(request.param, server.url, encoder=mini) as face:
        yield face


@pytest.fixture
def document_server() -> Iterator[PineconeServer]:
    """A document index."""
    if VERSION < 10:
        pytest.skip("documents came with SDK 10")
    with pinecone(schema=VECTORS) as server:
        yield server


@pytest.fixture(params=KINDS)
def documents(request: pytest.FixtureRequest, document_server: PineconeServer, mini: Encoder) -> Iterator[Face]:
    with faces(request.param, document_server.url, encoder=mini, vector_fields={"embedding": "text"}) as face:
        yield face.documents
