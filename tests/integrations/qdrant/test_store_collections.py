"""Collections that a store did not create, or finds again: of users, of older servers, in a folder."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from support.qdrant.http import StubQdrant
from taskvec import Encoder
from taskvec_integrations.qdrant import QdrantStore
from taskvec_integrations.qdrant.backend import RECORD_POINT

TEXTS = [(number, f"text {number}") for number in range(40)]


def create_docs(client: QdrantClient, **vectors: models.VectorParams) -> None:
    client.create_collection("docs", vectors)


COSINE = models.VectorParams(size=32, distance=models.Distance.COSINE)


def test_a_named_vector_of_the_users_collection(short: Encoder) -> None:
    client = QdrantClient(":memory:")
    create_docs(client, dense=COSINE, other=COSINE)
    with pytest.raises(
        ValueError, match=r"has these vectors: 'dense' and 'other'. This store uses the unnamed vector: pass another vector_name"
    ):
        QdrantStore(client, "docs", encoder=short).ingest(TEXTS)
    store = QdrantStore(client, "docs", encoder=short, vector_name="dense")
    assert store.ingest(TEXTS).chunks.written == 40
    assert store.search("text 7", 1)[0].text
    points: list[Any] = [point for point in client.scroll("docs", limit=100, with_vectors=True)[0] if point.id != RECORD_POINT]
    vectors = short.encode_documents([point.payload["text"] for point in points])
    np.testing.assert_allclose(np.array([point.vector["dense"] for point in points]), vectors, atol=1e-6)
    client.close()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            COSINE.model_copy(
                update={"multivector_config": models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)}
            ),
            "has multivectors. This store writes one",
        ),
        (COSINE.model_copy(update={"datatype": models.Datatype.UINT8}), "has datatype uint8, which keeps nothing"),
    ],
    ids=["multivector", "uint8"],
)
def test_fields_that_do_not_fit_are_refused(short: Encoder, params: models.VectorParams, message: str) -> None:
    client = QdrantClient(":memory:")
    create_docs(client, dense=params)
    with pytest.raises(ValueError, match=message):
        QdrantStore(client, "docs", encoder=short, vector_name="dense").ingest(TEXTS)
    client.close()


def test_the_reserved_point_of_an_older_server_is_never_found(
    stub: StubQdrant, stub_client: QdrantClient, short: Encoder
) -> None:
    stub.knows_metadata = False
    store = QdrantStore(stub_client, "docs", encoder=short)
    store.ingest(TEXTS[:3])
    assert stub.client.count("docs").count == 4
    assert len(store.search("text", 100)) == 3
    assert store.ingest(TEXTS[:3]).documents.skipped == 3
    with pytest.raises(ValueError, match="has document_task retrieval"):
        QdrantStore(stub_client, "docs", encoder=short, document_task=None).ingest([])
    assert stub.client.retrieve("docs", [RECORD_POINT])


def test_a_record_of_another_version_is_refused(short: Encoder) -> None:
    client = QdrantClient(":memory:")
    client.create_collection("docs", COSINE)
    client.upsert("docs", [models.PointStruct(id=RECORD_POINT, vector={}, payload={"taskvec": {"model": "x", "version": 7}})])
    with pytest.raises(ValueError, match=r"record is {'model': 'x', 'version': 7}, which this version of taskvec cannot read"):
        QdrantStore(client, "docs", encoder=short).ingest(TEXTS)
    client.close()


def test_a_folder_keeps_its_record(tmp_path: Path, short: Encoder) -> None:
    for _ in range(2):
        client = QdrantClient(path=str(tmp_path))
        QdrantStore(client, "docs", encoder=short, dimensions=8).ingest(TEXTS)
        with pytest.raises(ValueError, match="has dimensions 8; this store has dimensions 32"):
            QdrantStore(client, "docs", encoder=short).ingest(TEXTS)
        client.close()
