"""Which engine is at the other end of a client, and what it lacks, said before anything is sent to it."""

import re
from dataclasses import dataclass
from typing import Self

from taskvec_integrations.milvus.vector_types import VECTOR_TYPES, VectorType

LITE = "milvus-lite"
HYBRID_SEARCH = (2, 4)
"""The first Milvus with hybrid_search."""
INVERTED = (2, 4)
"""The first Milvus with INVERTED indexes."""


@dataclass(frozen=True)
class Server:
    """An engine by name and version, as `get_server_version` tells them: "v2.6.3", "2.3.5-dev", "milvus_lite-3.2.2".

    An empty version is one that could not be read; nothing is refused then, the engine says itself what it lacks.
    """

    name: str = "Milvus"
    version: tuple[int, ...] = ()

    @classmethod
    def parse(cls, told: str) -> Self:
        """Read what a server says of itself."""
        match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", told)
        version = tuple(int(part) for part in match.groups() if part) if match else ()
        return cls(LITE if "lite" in told.partition("-")[0] else "Milvus", version)

    def __str__(self) -> str:
        return f"{self.name} {'.'.join(map(str, self.version))}"

    def has(self, kind: VectorType) -> bool:
        """Whether it stores, indexes and searches vectors of a type."""
        return not self.version or (kind.in_lite if self.name == LITE else self.version >= kind.server)

    @property
    def has_inverted_index(self) -> bool:
        """Whether VARCHAR fields can be indexed for look-ups by many values."""
        return self.name == LITE or self.version >= INVERTED

    @property
    def merges_upserts(self) -> bool:
        """Whether an upsert keeps the dynamic fields of the row it replaces (milvus-lite 3.2), instead of replacing all of it."""
        return self.name == LITE

    def check_type(self, kind: VectorType) -> None:
        """A type that it lacks is a ValueError that names both, and what works instead."""
        if not self.has(kind):
            instead = [other.precision for other in VECTOR_TYPES.values() if self.has(other)]
            raise ValueError(
                f"{self} has no {kind.name}, which precision {kind.precision} needs: use precision {' or '.join(instead)} here, "
                f"or a Milvus server of version {_dotted(kind.server)} or later"
            )

    def check_async_create(self) -> None:
        """A server that cannot make a collection for an async client is a NotImplementedError that says what works instead."""
        if self.name == LITE:
            raise NotImplementedError(
                f"{self} cannot make a collection for an AsyncMilvusClient (it would leave half a one): make it with create and "
                "a MilvusClient of the same file, which the async client can then use"
            )

    def check_hybrid_search(self) -> None:
        """A server without hybrid_search is a NotImplementedError that says what works instead."""
        if self.version and self.name != LITE and self.version < HYBRID_SEARCH:
            raise NotImplementedError(
                f"{self} has no hybrid_search: search field by field and merge the hits, or use {_dotted(HYBRID_SEARCH)} or later"
            )


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
