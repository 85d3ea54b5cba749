"""An index over gRPC: the same records and the same vectors, through the SDK's Rust channel (SDK 10)."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pinecone as sdk
import pytest

from support.pinecone.emulator import KEY, PineconeServer
from support.pinecone.indexes import QUESTION, TEXTS, VERSION, records, values
from taskvec import Encoder
from taskvec_integrations.pinecone import TaskvecIndex

if VERSION < 10:
    pytest.skip("before SDK 10 gRPC wants TLS", allow_module_level=True)

from support.pinecone.grpc_emulator import also_grpc


@pytest.fixture
def index(server: PineconeServer, mini: Encoder) -> Iterator[TaskvecIndex]:
    with also_grpc(server):
        sdk_index: Any = sdk.Pinecone(api_key=KEY, grpc_scheme="http").index(host=server.url, grpc=True)
        with TaskvecIndex(sdk_index, mini) as index:
            yield index


def test_records_over_grpc(index: TaskvecIndex, server: PineconeServer, mini: Encoder) -> None:
    index.upsert_records(records=records(), namespace="__default__")
    np.testing.assert_array_equal(values(server), mini.encode_documents(TEXTS))
    assert index.fetch(ids=["nobel"]).vectors["nobel"].metadata == {"text": TEXTS[1], "place": 1}
    found = index.search(namespace="__default__", inputs={"text": QUESTION}, top_k=1)
    assert found.result.hits[0].fields["text"] in TEXTS
    vector = mini.encode_queries(QUESTION).tolist()
    assert index.query(vector=vector, top_k=1).matches[0].id == found.result.hits[0].id
    index.delete(ids=["nobel"])
    assert "nobel" not in server.stored()
    operations = {request.operation for request in server.requests}
    assert {"grpc/vectors/upsert", "grpc/query", "grpc/describe_index_stats", "records/search"} <= operations


def test_an_index_of_another_dimension_is_refused(index: TaskvecIndex, server: PineconeServer) -> None:
    server.data.dimension = 3
    with pytest.raises(ValueError, match="the index has dimension 3, mini returns vectors of 384"):
        index.upsert_records(records=records(), namespace="__default__")


def test_refusals_come_through(index: TaskvecIndex, server: PineconeServer) -> None:
    index._dimension_checked = True
    server.data.dimension = 3
    with pytest.raises(Exception, match="Vector dimension 384 does not match the dimension of the index 3") as caught:
        index.upsert_records(records=records(), namespace="__default__")
    assert caught.value.__notes__[0].startswith(
        "no record is known to be written, the request that starts at record 0 ('curie') failed"
    )
