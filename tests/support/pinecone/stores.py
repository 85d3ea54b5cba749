"""What the tests of PineconeStore share: texts, and what a server holds of them."""

from collections.abc import Callable
from math import inf
from typing import Any

import pytest

from support.pinecone.emulator import PineconeServer
from taskvec_integrations.pinecone import PineconeStore
from taskvec_integrations.pinecone.backend import PineconeBackend

Connect = Callable[..., Any]
"""Makes an index of the SDK on a server."""
OpenStore = Callable[..., PineconeStore]
"""Opens a store on a server."""

NARROW_WIDTH = 32  # of the fixture `short`
NUMBERED = [(number, f"text {number}") for number in range(40)]
"""Pairs of id and text."""


def stored_chunks(server: PineconeServer, namespace: str = "docs") -> list[tuple[str, int, str]]:
    """Document id, chunk and text of all records, doubles included."""
    stored = [record.fields for record in server.stored(namespace).values()]
    return sorted((fields["document_id"], int(fields["chunk"]), fields["text"]) for fields in stored)


def chunks_of(texts: list[tuple[int, str]]) -> list[tuple[str, int, str]]:
    """What `stored_chunks` should be for pairs of id and text."""
    return sorted((str(number), 0, text) for number, text in texts)


def show_writes_only_at_the_end(server: PineconeServer, patch: pytest.MonkeyPatch) -> None:
    """Let no run see what is written from now on before it is at its end."""
    server.data.lag = inf
    finish = PineconeBackend.finish

    def show_and_finish(backend: PineconeBackend) -> None:
        server.data.show_all()
        finish(backend)

    patch.setattr(PineconeBackend, "finish", show_and_finish)
