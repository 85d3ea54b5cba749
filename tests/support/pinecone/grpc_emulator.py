"""Pinecone's gRPC front for the emulator, on the port of its HTTP front, as Pinecone's own indexes have both on one host.

Messages have the fields of the REST bodies, so each call is one to the same operations (VectorService, vector_service.proto).
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import grpc
from google.protobuf import (  # type: ignore[import-untyped]
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    struct_pb2,
)
from google.protobuf.json_format import MessageToDict, ParseDict  # type: ignore[import-untyped]

from support.pinecone.emulator import KEY, PineconeServer, Request, body_namespace
from support.pinecone.filters import RejectedError

STRUCT = "google.protobuf.Struct"
MESSAGES = {
    "SparseValues": "1 indices uint32*, 2 values float*",
    "Vector": f"1 id string, 2 values float*, 3 metadata {STRUCT}, 4 sparse_values .SparseValues",
    "ScoredVector": f"1 id string, 2 score float, 3 values float*, 4 metadata {STRUCT}, 5 sparse_values .SparseValues",
    "Usage": "1 read_units uint32",
    "NamespaceSummary": "1 vector_count uint32",
    "UpsertRequest": "1 vectors .Vector*, 2 namespace string",
    "UpsertResponse": "1 upserted_count uint32",
    "DeleteRequest": f"1 ids string*, 2 delete_all bool, 3 namespace string, 4 filter {STRUCT}",
    "DeleteResponse": "",
    "FetchRequest": "1 ids string*, 2 namespace string",
    "FetchResponse": "1 vectors .Vector#, 2 namespace string, 3 usage .Usage",
    "QueryRequest": f"1 namespace string, 2 top_k uint32, 3 filter {STRUCT}, 4 include_values bool, 5 include_metadata bool, "
    "7 vector float*, 8 id string, 9 sparse_vector .SparseValues",
    "QueryResponse": "2 matches .ScoredVector*, 3 namespace string, 4 usage .Usage",
    "ListItem": "1 id string",
    "Pagination": "1 next string",
    "ListRequest": "1 prefix string, 2 limit uint32, 3 pagination_token string, 4 namespace string",
    "ListResponse": "1 vectors .ListItem*, 2 pagination .Pagination, 3 namespace string, 4 usage .Usage",
    "DescribeIndexStatsRequest": f"1 filter {STRUCT}",
    "DescribeIndexStatsResponse": "1 namespaces .NamespaceSummary#, 2 dimension uint32, 3 index_fullness float, "
    "4 total_vector_count uint32, 5 metric string, 6 vector_type string",
}
"""Fields as number, name and type; * repeats, # maps strings to it."""

METHODS = {
    "Upsert": "vectors/upsert",
    "Delete": "vectors/delete",
    "Fetch": "vectors/fetch",
    "Query": "query",
    "List": "vectors/list",
    "DescribeIndexStats": "describe_index_stats",
}
STATUS = {400: grpc.StatusCode.INVALID_ARGUMENT, 404: grpc.StatusCode.NOT_FOUND}
TWO_MEGABYTES = [("grpc.max_receive_message_length", 2 * 1024 * 1024)]

Field = descriptor_pb2.FieldDescriptorProto


def _classes() -> dict[str, Any]:
    """The message classes of the table."""
    file = descriptor_pb2.FileDescriptorProto(name="pinecone.proto", syntax="proto3", dependency=["google/protobuf/struct.proto"])
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, field, kind in (item.split() for item in fields.split(", ") if item):
            _add_field(message, int(number), field, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in MESSAGES}


def _add_field(message: Any, number: int, name: str, kind: str) -> None:
    if kind.endswith("#"):
        entry = message.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        _add_field(entry, 1, "key", "string")
        _add_field(entry, 2, "value", kind[:-1])
        kind = f".{message.name}.{entry.name}*"
    field = message.field.add(name=name, number=number, label=Field.LABEL_OPTIONAL)
    if kind.endswith("*"):
        field.label, kind = Field.LABEL_REPEATED, kind[:-1]
    if "." in kind:
        field.type, field.type_name = Field.TYPE_MESSAGE, kind if kind.startswith(".") else f".{kind}"
    else:
        field.type = getattr(Field, f"TYPE_{kind.upper()}")


CLASSES = _classes()


def _answer(server: PineconeServer, method: str, request: Any, context: grpc.ServicerContext) -> Any:
    """The answer to one call, through the operation of the same name."""
    body, operation = MessageToDict(request), METHODS[method]
    try:
        if dict(context.invocation_metadata()).get("api-key") != KEY:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "Invalid API Key")
        with server.lock:
            server.check_body(operation, body)
            server.data.count_request()
            answer = server.operations[operation](server.data, body_namespace(body), body)
            server.requests.append(Request(f"grpc/{operation}", body_namespace(body), body, request.ByteSize(), 200))
    except RejectedError as error:
        context.abort(STATUS[error.status], str(error))
    return ParseDict(answer, CLASSES["DeleteResponse" if method == "Delete" else f"{method}Response"]())


@contextmanager
def also_grpc(server: PineconeServer) -> Iterator[None]:
    """While the block lasts, connections to the server that speak HTTP/2 are answered, too."""
    handlers = {
        method: grpc.unary_unary_rpc_method_handler(
            partial(_answer, server, method),
            request_deserializer=CLASSES[f"{method}Request"].FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        for method in METHODS
    }
    front = grpc.server(ThreadPoolExecutor(4), options=TWO_MEGABYTES)
    front.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("VectorService", handlers),))
    server.http2_port = front.add_insecure_port("127.0.0.1:0")
    front.start()
    try:
        yield
    finally:
        server.http2_port = None
        front.stop(None).wait()
