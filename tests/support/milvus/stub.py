"""A Milvus 2.6 on loopback that stores nothing and remembers every request: the wire, also of types that no server here stores.

Answers what pymilvus 2.6 to 3.0 asks when it creates a collection, inserts, upserts and searches.
"""

# ruff: noqa: N802 (methods have the names of the protocol)
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import grpc
import numpy as np
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc, schema_pb2

OK = common_pb2.Status()
VECTOR_MESSAGE_FIELDS = {
    "FloatVector": "float_vector",
    "Float16Vector": "float16_vector",
    "BFloat16Vector": "bfloat16_vector",
    "Int8Vector": "int8_vector",
    "BinaryVector": "binary_vector",
}
"""By the name of a vector's type on the wire: the field that holds it in a message."""


class SentVectors(NamedTuple):
    """Vectors as they went over the wire: the field they were for, the name of their type, and the bytes of all of them."""

    field: str
    kind: str
    data: bytes


class MilvusStub(milvus_pb2_grpc.MilvusServiceServicer):  # type: ignore[misc]
    """Remembers the schemas and indexes it was asked to create, by name, and every vector and search it was sent, in order."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.uri = ""
        self.schemas: dict[str, Any] = {}
        self.indexes: dict[str, dict[str, str]] = {}
        self.sent: list[SentVectors] = []
        self.described = 0
        self.searches: list[Any] = []

    def Connect(self, request: Any, context: Any) -> Any:
        return milvus_pb2.ConnectResponse(status=OK, server_info=common_pb2.ServerInfo(build_tags=self.version), identifier=1)

    def GetVersion(self, request: Any, context: Any) -> Any:
        return milvus_pb2.GetVersionResponse(status=OK, version=self.version)

    def CreateCollection(self, request: Any, context: Any) -> Any:
        self.schemas[request.collection_name] = schema_pb2.CollectionSchema.FromString(request.schema)
        return OK

    def CreateIndex(self, request: Any, context: Any) -> Any:
        self.indexes[request.field_name] = {pair.key: pair.value for pair in request.extra_params}
        return OK

    def AllocTimestamp(self, request: Any, context: Any) -> Any:
        return milvus_pb2.AllocTimestampResponse(status=OK, timestamp=1)

    def DescribeIndex(self, request: Any, context: Any) -> Any:
        index = milvus_pb2.IndexDescription(
            field_name=request.field_name, index_name=request.field_name, state=common_pb2.IndexState.Finished
        )
        return milvus_pb2.DescribeIndexResponse(status=OK, index_descriptions=[index])

    def LoadCollection(self, request: Any, context: Any) -> Any:
        return OK

    def GetLoadingProgress(self, request: Any, context: Any) -> Any:
        return milvus_pb2.GetLoadingProgressResponse(status=OK, progress=100, refresh_progress=100)

    def DescribeCollection(self, request: Any, context: Any) -> Any:
        self.described += 1
        name = request.collection_name
        return milvus_pb2.DescribeCollectionResponse(status=OK, schema=self.schemas[name], collection_name=name)

    def Insert(self, request: Any, context: Any) -> Any:
        for field in request.fields_data:
            if (kind := schema_pb2.DataType.Name(field.type)) in VECTOR_MESSAGE_FIELDS:
                value = getattr(field.vectors, VECTOR_MESSAGE_FIELDS[kind])
                self.sent.append(SentVectors(field.field_name, kind, value if isinstance(value, bytes) else _floats(value.data)))
        ids = schema_pb2.IDs(str_id=schema_pb2.StringArray(data=["a"] * request.num_rows))
        return milvus_pb2.MutationResult(status=OK, IDs=ids, insert_cnt=request.num_rows, upsert_cnt=request.num_rows)

    Upsert = Insert

    def Search(self, request: Any, context: Any) -> Any:
        self._note(request)
        self.searches.append(request)
        return milvus_pb2.SearchResults(
            status=OK, results=schema_pb2.SearchResultData(num_queries=request.nq, topks=[0] * request.nq)
        )

    def HybridSearch(self, request: Any, context: Any) -> Any:
        for part in request.requests:
            self._note(part)
        nq = request.requests[0].nq
        return milvus_pb2.SearchResults(status=OK, results=schema_pb2.SearchResultData(num_queries=nq, topks=[0] * nq))

    def _note(self, request: Any) -> None:
        (holder,) = common_pb2.PlaceholderGroup.FromString(request.placeholder_group).placeholders
        field = next((pair.value for pair in request.search_params if pair.key == "anns_field"), "")
        self.sent.append(SentVectors(field, common_pb2.PlaceholderType.Name(holder.type), b"".join(holder.values)))


def _floats(values: Any) -> bytes:
    return np.asarray(values, dtype=np.float32).tobytes()


@contextmanager
def serving(version: str) -> Iterator[MilvusStub]:
    """A stub of a version of Milvus; `uri` is where it listens."""
    stub = MilvusStub(version)
    with ThreadPoolExecutor(4) as executor:
        server = grpc.server(executor)
        milvus_pb2_grpc.add_MilvusServiceServicer_to_server(stub, server)
        stub.uri = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield stub
        finally:
            server.stop(None).wait()
            forget_schemas()


def forget_schemas() -> None:
    """Newer versions of pymilvus keep schemas by address, and the next stub may get the same port."""
    with suppress(ImportError):
        from pymilvus.client.cache import GlobalCache

        GlobalCache.schema.clear()
