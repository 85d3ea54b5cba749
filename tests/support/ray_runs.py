"""Collections that a cluster and one process make, side by side."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient

from support.databases import Stored
from support.paths import ROOT
from taskvec_integrations.files.sources import Columns, FileSource
from taskvec_integrations.ingestion.report import IngestReport
from taskvec_integrations.qdrant.backend import RECORD_POINT
from taskvec_integrations.store_url import StoreURL


def for_workers(patch: pytest.MonkeyPatch) -> None:
    """What Ray's processes inherit: where taskvec is, the same right to the CPU as any other process, no network."""
    folders = [str(ROOT / "core"), str(ROOT / "integrations")]
    patch.setenv("PYTHONPATH", os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), *folders]))
    patch.setenv("RAY_worker_niceness", "0")
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")


def points(client: QdrantClient) -> dict[str, Stored]:
    """The points of a collection, without its record."""
    found, _ = client.scroll("docs", limit=10**6, with_payload=True, with_vectors=True)
    return {
        str(point.id): Stored(dict(point.payload or {}), np.array(point.vector, dtype=np.float32))
        for point in found
        if point.id != RECORD_POINT
    }


def in_folder(url: str) -> dict[str, Stored]:
    """The points of an embedded Qdrant."""
    client = QdrantClient(path=url.removeprefix("qdrant://"))
    try:
        return points(client)
    finally:
        client.close()


def assert_same(made: Mapping[str, Stored], wanted: Mapping[str, Stored], atol: float = 2e-6) -> None:
    """Check that two collections have the same points."""
    assert made.keys() == wanted.keys()
    for id, point in made.items():
        assert point.fields == wanted[id].fields
        np.testing.assert_allclose(point.vector, wanted[id].vector, atol=atol)


def numbers(report: IngestReport) -> dict[str, Any]:
    """What has to be the same however the work was shared out."""
    assert report.documents.read == report.documents.done
    assert report.chunks.read == report.chunks.done
    return {"documents": report.documents, "chunks": report.chunks, "failed": sorted(report.failed), "cut": report.truncated}


def alone(path: Path, url: str, **settings: Any) -> IngestReport:
    """Ingest a file in this process."""
    with StoreURL.parse(url).open("docs", **settings) as store:
        return store.ingest(FileSource.open([str(path)], Columns()))
