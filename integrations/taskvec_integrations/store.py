"""Store: documents in, hits out. Settings are given once, so that ingesting and searching cannot disagree.

Knows encoders and the order of steps; the database is behind `Engine` (engine.py), the pipeline in ingest.py.
"""

import threading
from collections.abc import AsyncIterable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from taskvec import Encoder
from taskvec.hub import DEFAULT_MODEL
from taskvec.progress import Progress
from taskvec_integrations.documents import Document, Input
from taskvec_integrations.engine import Engine, Hit
from taskvec_integrations.options import EmbedSettings
from taskvec_integrations.report import Failure, IngestReport

__all__ = ["Document", "Failure", "Hit", "IngestReport", "Store"]

CHUNK_TOKENS = 512


class Store:
    """Documents in a collection of a vector database. Not used itself: QdrantStore and its siblings bring the database.

    Safe to share between threads as far as the database's client is.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        encoder: Encoder | str | Path = DEFAULT_MODEL,
        settings: EmbedSettings,
        chunk_tokens: int | None = CHUNK_TOKENS,
    ) -> None:
        raise NotImplementedError

    def ingest(self, documents: Iterable[Input], *, progress: Progress = False) -> IngestReport:
        """Write documents."""
        raise NotImplementedError

    async def aingest(self, documents: Iterable[Input] | AsyncIterable[Input], *, progress: Progress = False) -> IngestReport:
        """`ingest` in a thread."""
        raise NotImplementedError

    def search(self, query: str, limit: int = 10, *, filter: Any = None) -> list[Hit]:
        """The best chunks."""
        raise NotImplementedError

    async def asearch(self, query: str, limit: int = 10, *, filter: Any = None) -> list[Hit]:
        """`search` in a thread."""
        raise NotImplementedError
