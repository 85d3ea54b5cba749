"""What a store needs of a Pinecone index, over a dict that can be written to a file: {namespace: {id: record}}."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

Namespaces = dict[str, dict[str, dict[str, Any]]]


class StubIndex:
    """A dense index with metric cosine whose writes show at once."""

    host = "https://stub"

    def __init__(self, namespaces: Namespaces, dimension: int) -> None:
        self.namespaces = namespaces
        self._dimension = dimension
        self.writes = 0

    def describe_index_stats(self) -> Any:
        """Counts of vectors by namespace."""
        counts = {name: SimpleNamespace(vector_count=len(records)) for name, records in self.namespaces.items()}
        return SimpleNamespace(dimension=self._dimension, metric="cosine", namespaces=counts)

    def upsert(self, *, vectors: Sequence[dict[str, Any]], namespace: str = "") -> Any:
        """Insert or replace by id."""
        self.writes += 1
        self.namespaces.setdefault(namespace, {}).update({vector["id"]: vector for vector in vectors})
        return SimpleNamespace(upserted_count=len(vectors))

    def delete(self, *, ids: Sequence[str], namespace: str = "") -> None:
        """Delete by id."""
        self.writes += 1
        for id in ids:
            self.namespaces.get(namespace, {}).pop(id, None)

    def fetch(self, *, ids: Sequence[str], namespace: str = "") -> Any:
        """Records by id."""
        records = self.namespaces.get(namespace, {})
        return SimpleNamespace(vectors={id: SimpleNamespace(**records[id]) for id in ids if id in records})

    def list_paginated(self, *, prefix: str, namespace: str = "") -> Any:
        """All ids with a prefix, on one page."""
        ids = [id for id in self.namespaces.get(namespace, {}) if id.startswith(prefix)]
        return SimpleNamespace(vectors=[SimpleNamespace(id=id) for id in ids], pagination=None)

    def query(self, *, vector: Sequence[float], top_k: int, namespace: str = "", **_: object) -> Any:
        """The best by cosine; every vector has the length 1."""
        records = list(self.namespaces.get(namespace, {}).values())
        scores = np.array([record["values"] for record in records]) @ np.array(vector)
        best = np.argsort(-scores)[:top_k]
        matches = [SimpleNamespace(score=float(scores[row]), **records[row]) for row in best]
        return SimpleNamespace(matches=matches)
