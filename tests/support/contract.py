"""What the contract of all stores writes and checks: documents, their chunks, and what a database holds after a run."""

from typing import Any

import numpy as np

from support.database import Database
from taskvec_integrations.store import Document, IngestReport

CURIE = ["Marie Curie was born in Warsaw in 1867.", "She shared the Nobel Prize in Physics.", "Her notebooks are radioactive."]
BERLIN = "Berlin is the capital of Germany. The city has 3.8 million inhabitants. It lies on the Spree."
DOCUMENTS = [
    Document("curie", chunks=CURIE, payload={"kind": "person", "year": 1867, "tags": ["physics", "chemistry"]}),
    Document("berlin", BERLIN, spans=[(0, 33), (34, 71), (72, 93)], payload={"kind": "city"}),
    Document(3, "Yeast turns sugar into gas.", payload={"kind": "food"}),
]
CHUNKS = {
    ("curie", 0): CURIE[0],
    ("curie", 1): CURIE[1],
    ("curie", 2): CURIE[2],
    ("berlin", 0): BERLIN[:33],
    ("berlin", 1): BERLIN[34:71],
    ("berlin", 2): BERLIN[72:],
    ("3", 0): "Yeast turns sugar into gas.",
}
ROUNDING = 1e-6


def vectors_of(database: Database) -> dict[tuple[str, int], Any]:
    """The stored vectors by document and chunk."""
    return {(fields["document_id"], fields["chunk"]): vector for fields, vector in database.points().values()}


def assert_vectors(database: Database, wanted: dict[tuple[str, int], Any]) -> None:
    """The database holds exactly these vectors."""
    stored = vectors_of(database)
    assert stored.keys() == wanted.keys()
    for key, vector in wanted.items():
        np.testing.assert_allclose(stored[key], vector, atol=ROUNDING, err_msg=str(key))


def counts(report: IngestReport) -> tuple[int, int, int, int, int, int]:
    """Chunks read, encoded, written, skipped, failed and deleted."""
    chunks = report.chunks
    return chunks.read, chunks.encoded, chunks.written, chunks.skipped, chunks.failed, chunks.deleted


def assert_accounted(report: IngestReport) -> None:
    """Everything that was read was skipped, written or failed."""
    assert report.documents.read == report.documents.done
    assert report.chunks.read == report.chunks.done
