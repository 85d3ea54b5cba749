"""Pinecone on loopback, for the real SDK: one index, the limits of the documentation, and faults on request.

`with pinecone(dimension=384) as server:` starts it; leaving the block fails where a request broke the documented schema
(bodies.py). `server.url` is the index's host and the control plane's. Versions 9 and 10 of the SDK talk to it.
"""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from support.loopback import JsonHandler, LoopbackServer, serving
from support.pinecone.bodies import BODIES, problems
from support.pinecone.data import Data, Record
from support.pinecone.documents import DOCUMENTS, Documents
from support.pinecone.faults import Fault, forward, reset
from support.pinecone.filters import RejectedError
from support.pinecone.operations import VECTORS

KEY = "a-key-for-tests"
INDEX = "docs"
MAX_BODY = 2 * 1024 * 1024
MAX_URL = 16 * 1024  # undocumented; "fetch" is known to fail with 414 on long lists of ids
API_VERSIONS = ("2025-10", "2026-07")  # of SDK 9, of SDK 10

ROUTES = [
    (method, re.compile(path), operation)
    for method, path, operation in [
        ("POST", r"/(describe_index_stats|query|vectors/(?:upsert|update|delete|fetch_by_metadata))", r"\1"),
        ("GET", r"/(vectors/(?:fetch|list))", r"\1"),
        ("POST", r"/(records)/namespaces/(?P<namespace>[^/]+)/(upsert|search)", r"\1/\3"),
        ("POST", r"/namespaces/(?P<namespace>[^/]+)/(documents/(?:upsert|search|fetch|delete|update|list))", r"\2"),
        ("GET", r"/namespaces", "namespaces/list"),
        ("GET", r"/namespaces/(?P<namespace>[^/]+)", "namespaces/describe"),
        ("DELETE", r"/namespaces/(?P<namespace>[^/]+)", "namespaces/delete"),
        ("GET", r"/indexes", "indexes"),
        ("GET", r"/indexes/(?P<namespace>[^/]+)", "indexes/describe"),
        ("PATCH", r"/indexes/(?P<namespace>[^/]+)", "indexes/configure"),
    ]
]


@dataclass(frozen=True)
class Request:
    """A request that came: its operation (a key of BODIES), namespace, body or query string, size in bytes, and status."""

    operation: str
    namespace: str
    body: Any
    size: int
    status: int


class PineconeServer(LoopbackServer):
    """One index.

    Args:
        dimension: Of its vectors; a document index has those of its schema.
        metric: Of its vectors; a document index has those of its schema.
        schema: Of a document index.
        lag: How many requests later readers see a write; infinity is never.

    `faults` is what will go wrong, `requests` what came, `broken` how that broke the API.
    """

    def __init__(
        self, dimension: int = 384, metric: str = "cosine", schema: Mapping[str, Any] | None = None, lag: float = 0
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.schema = schema
        self.data = Data(dimension, metric, lag) if schema is None else Documents(dimension, metric, lag, schema=schema)
        self.operations = {**(VECTORS if schema is None else DOCUMENTS)}
        self.tags: dict[str, str] = {}
        self.lock = threading.Lock()
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.broken: list[str] = []
        self.http2_port: int | None = None  # where grpc_emulator.py listens

    def fail(self, kind: int | Literal["reset", "slow"], operation: str = "", **how: Any) -> Fault:
        """Let something go wrong from now on; see Fault."""
        fault = Fault(kind, operation, **how)
        self.faults.append(fault)
        return fault

    def stored(self, namespace: str = "") -> dict[str, Record]:
        """Everything written to a namespace, visible to readers or not yet."""
        with self.lock:
            self.data.show_all()
            return dict(self.data.records(namespace))

    def sent(self, operation: str) -> list[Request]:
        """The requests of one operation."""
        return [request for request in self.requests if request.operation == operation]

    def check_body(self, operation: str, body: Any) -> None:
        """Refuse a body that the documentation does not allow, and remember it."""
        lines = body if operation == "records/upsert" else [body]
        if operation in BODIES and (
            wrong := [problem for line in lines for problem in problems(BODIES[operation], line, operation)]
        ):
            self.broken += wrong
            raise RejectedError(400, "; ".join(wrong)[:500])

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection; one that speaks HTTP/2 goes to `http2_port`."""
        if self.http2_port and request.recv(3, socket.MSG_PEEK) == b"PRI":
            forward(request, self.http2_port)
        else:
            super().finish_request(request, client_address)

    def describe(self, version: str) -> dict[str, Any]:
        """The index as the control plane describes it, in the shape of an API version."""
        common = {
            "name": INDEX,
            "host": self.url,
            "status": {"ready": True, "state": "Ready"},
            "deletion_protection": "disabled",
            "tags": self.tags,
        }
        if version < "2026":
            spec = {"serverless": {"cloud": "aws", "region": "us-east-1"}}
            vectors = {"dimension": self.data.dimension, "metric": self.data.metric, "vector_type": "dense"}
            return {**common, **vectors, "spec": spec}
        values = {"type": "dense_vector", "dimension": self.data.dimension, "metric": self.data.metric}
        deployment = {"deployment_type": "managed", "cloud": "aws", "region": "us-east-1"}
        return {**common, "schema": self.schema or {"fields": {"_values": values}}, "deployment": deployment}


class _Handler(JsonHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: PineconeServer

    def _handle(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        operation, namespace, query = self._route()
        with self.server.lock:
            fault = next((fault for fault in self.server.faults if fault.strikes(operation)), None)
            status, answer = 500, dict[str, Any]()
            body: Any = query
            if fault is None or fault.landed or fault.kind == "slow":
                status, answer, body = self._answer(operation, namespace, query, raw)
            if fault and isinstance(fault.kind, int):
                status, answer = fault.kind, _error(fault.kind, "told to fail")
            self.server.requests.append(Request(operation, namespace, body, len(raw), status))
        if fault and fault.kind == "reset":
            self.close_connection = True
            return reset(self.connection)
        if fault:
            time.sleep(fault.seconds)
        return self.reply(status, answer, fault.headers if fault else None)

    do_GET = do_POST = do_PATCH = do_DELETE = _handle  # noqa: N815

    def _route(self) -> tuple[str, str, Any]:
        """The operation, the namespace of the path, and the query string."""
        url = urlsplit(self.path)
        query = {name: values if name == "ids" else values[-1] for name, values in parse_qs(url.query, True).items()}
        for method, path, operation in ROUTES:
            if self.command == method and (found := path.fullmatch(url.path)):
                return found.expand(operation), unquote(found.groupdict().get("namespace") or ""), query
        return f"{self.command} {url.path}", "", query

    def _answer(self, operation: str, namespace: str, query: Any, raw: bytes) -> tuple[int, Any, Any]:
        """The status, the response, and the body or query string of the request."""
        body = query
        try:
            self._check_headers(len(raw))
            body = _parse(operation, raw) if self.command in ("POST", "PATCH") else query
            self.server.check_body(operation, body)
            self.server.data.count_request()
            return 200, self._perform(operation, namespace or body_namespace(body), body), body
        except RejectedError as error:
            return error.status, _error(error.status, str(error)), body

    def _check_headers(self, size: int) -> None:
        if self.headers.get("api-key") != KEY:
            raise RejectedError(401, "Invalid API Key")
        version = self.headers.get("x-pinecone-api-version")
        if version not in API_VERSIONS:
            self.server.broken.append(f"{self.path}: X-Pinecone-Api-Version is {version!r}")
        if size > MAX_BODY:
            raise RejectedError(413, f"Request size {size} exceeds the maximum supported size of 2MB")
        if len(self.path) > MAX_URL:
            raise RejectedError(414, "Request-URI Too Large")

    def _perform(self, operation: str, namespace: str, body: Any) -> Any:
        if operation == "indexes":
            return {"indexes": [self.server.describe(self.headers["x-pinecone-api-version"])]}
        if operation.startswith("indexes/"):
            if namespace != INDEX:
                raise RejectedError(404, f"Resource {namespace} not found")
            self.server.tags.update(body.get("tags", {}))
            return self.server.describe(self.headers["x-pinecone-api-version"])
        if operation not in self.server.operations:
            raise RejectedError(404 if " " in operation else 400, f"{operation} is not supported by this index")
        return self.server.operations[operation](self.server.data, namespace, body)


def body_namespace(body: Any) -> str:
    """The namespace a body or a query string names."""
    return str(body.get("namespace", "")) if isinstance(body, dict) else ""


def _parse(operation: str, raw: bytes) -> Any:
    try:
        return [json.loads(line) for line in raw.splitlines()] if operation == "records/upsert" else json.loads(raw or b"{}")
    except ValueError as error:
        raise RejectedError(400, f"not JSON: {error}") from None


def _error(status: int, message: str) -> dict[str, Any]:
    return {"code": {400: 3, 404: 5, 429: 8}.get(status, 13), "message": message, "details": []}


@contextmanager
def pinecone(
    dimension: int = 384, metric: str = "cosine", schema: Mapping[str, Any] | None = None, lag: float = 0
) -> Iterator[PineconeServer]:
    """The server while the block lasts; a request that broke the documented schema fails it."""
    with serving(PineconeServer(dimension, metric, schema, lag)) as server:
        yield server
        assert not server.broken, server.broken[:5]
