"""Which server a client talks to, and what it lacks, which is an error before anything is sent to it."""

import re
from dataclasses import dataclass
from typing import Self

from taskvec_integrations.milvus.vector_types import VECTOR_TYPES, VectorType

LITE = "milvus-lite"
HYBRID_SEARCH_VERSION = (2, 4)
"""The first Milvus with hybrid_search."""
INVERTED_INDEX_VERSION = (2, 4)
"""The first Milvus with INVERTED indexes."""


@dataclass(frozen=True)
class Server:
    """A server by name and version, as `get_server_version` returns them: "v2.6.3", "2.3.5-dev", "milvus_lite-3.2.2".

    Args:
        name: "Milvus", or milvus-lite, which runs in the client's process.
        version: its numbers. Empty where they could not be read: then nothing is refused here, and the server itself says what
            it lacks.
    """

    name: str = "Milvus"
    version: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """The server in what `get_server_version` returned."""
        match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
        version = tuple(int(part) for part in match.groups() if part) if match else ()
        return cls(LITE if "lite" in text.partition("-")[0] else "Milvus", version)

    def __str__(self) -> str:
        return f"{self.name} {'.'.join(map(str, self.version))}"

    def has(self, kind: VectorType) -> bool:
        """Whether the server stores, indexes and searches vectors of a type."""
        return not self.version or (kind.in_lite if self.name == LITE else self.version >= kind.server)

    @property
    def has_inverted_index(self) -> bool:
        """Whether VARCHAR fields can be indexed for look-ups by many values."""
        return self.name == LITE or self.version >= INVERTED_INDEX_VERSION

    @property
    def merges_upserts(self) -> bool:
        """Whether an upsert keeps the dynamic fields of the row it replaces (milvus-lite 3.2), instead of replacing all of it."""
        return self.name == LITE

    def check_type(self, kind: VectorType) -> None:
        """Raise ValueError for a type that the server lacks; the message names both, and what works instead."""
        if not self.has(kind):
            instead = [other.precision for other in VECTOR_TYPES.values() if self.has(other)]
            raise ValueError(
                f"{self} has no {kind.name}, which precision {kind.precision} needs: use precision {' or '.join(instead)} here, "
                f"or a Milvus server of version {_dotted(kind.server)} or later"
            )

    def check_async_create(self) -> None:
        """Raise NotImplementedError where an async client cannot create a collection; the message says what works instead."""
        if self.name == LITE:
            raise NotImplementedError(
                f"{self} cannot create a collection for an AsyncMilvusClient (it would be left incomplete): create it with "
                "TextCollection.create and a MilvusClient of the same file; the async client can use it then"
            )

    def check_hybrid_search(self) -> None:
        """Raise NotImplementedError for a server without hybrid_search; the message says what works instead."""
        if self.version and self.name != LITE and self.version < HYBRID_SEARCH_VERSION:
            raise NotImplementedError(
                f"{self} has no hybrid_search: search field by field and merge the hits, or use a Milvus server of version "
                f"{_dotted(HYBRID_SEARCH_VERSION)} or later"
            )


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
