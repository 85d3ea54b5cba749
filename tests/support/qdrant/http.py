"""A stand-in for a Qdrant server on loopback: the few REST calls that a store makes, answered from an embedded Qdrant.

A test can make it answer with errors, or late, and be a server too old to know collection metadata.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from qdrant_client import QdrantClient, models

from support.loopback import JsonHandler, LoopbackServer, serving
from taskvec_integrations.qdrant.backend import RECORD_POINT

Answer = tuple[int, dict[str, str]]


class StubQdrant(LoopbackServer):
    """`trouble` is called with (what, body) before each request and may give a status and headers to answer with instead."""

    def __init__(self, client: QdrantClient) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.client = client
        self.lock = threading.Lock()
        self.trouble: Callable[[str, Any], Answer | None] = lambda what, body: None
        self.knows_metadata = True
        self.requests: list[tuple[str, int]] = []
        self.indexed: list[str] = []

    def count_points(self) -> int:
        """How many points docs has, without the reserved one that may hold the record."""
        points, _ = self.client.scroll("docs", limit=1000)
        return sum(point.id != RECORD_POINT for point in points)

    def call(self, what: str, name: str, body: Any) -> Any:
        """The result of one call; the names are those of the table in Handler."""
        do, c = body or {}, self.client
        match what:
            case "exists":
                return {"exists": c.collection_exists(name)}
            case "info":
                return c.get_collection(name)
            case "create":
                kept = {"metadata": do["metadata"]} if self.knows_metadata and do.get("metadata") else {}
                return c.create_collection(name, models.CreateCollection(vectors=do["vectors"]).vectors, **kept)
            case "update":
                return c.update_collection(name, metadata=do["metadata"]) if self.knows_metadata else True
            case "index":
                self.indexed.append(do["field_name"])
                return {"operation_id": 0, "status": "completed"}
            case "count":
                return c.count(name)
            case "retrieve":
                return c.retrieve(name, do["ids"], with_payload=True)
            case "scroll":
                wanted: Any = models.ScrollRequest.model_validate(do)
                options = {"limit": wanted.limit, "offset": wanted.offset, "with_payload": wanted.with_payload}
                points, offset = c.scroll(name, wanted.filter, with_vectors=wanted.with_vector, **options)
                return {"points": [point.model_dump() for point in points], "next_page_offset": offset}
            case "upsert":
                points = do["batch"] if "batch" in do else do["points"]
                kind = models.Batch.model_validate if "batch" in do else lambda all: [models.PointStruct(**one) for one in all]
                return c.upsert(name, kind(points))
            case "batch":
                return [
                    c.overwrite_payload(name, one["overwrite_payload"]["payload"], one["overwrite_payload"]["points"])
                    for one in do["operations"]
                ]
            case "delete":
                return c.delete(name, models.PointIdsList(points=do["points"]))
            case "query":
                wanted = models.QueryRequest.model_validate(do)
                return c.query_points(name, wanted.query, using=wanted.using, query_filter=wanted.filter, limit=wanted.limit)
        raise AssertionError(what)


class Handler(JsonHandler):
    """Paths to names."""

    server: StubQdrant
    protocol_version = "HTTP/1.1"
    table = (
        ("GET", r"/collections/(\w+)/exists", "exists"),
        ("GET", r"/collections/(\w+)", "info"),
        ("PUT", r"/collections/(\w+)", "create"),
        ("PATCH", r"/collections/(\w+)", "update"),
        ("PUT", r"/collections/(\w+)/index", "index"),
        ("POST", r"/collections/(\w+)/points/count", "count"),
        ("POST", r"/collections/(\w+)/points", "retrieve"),
        ("POST", r"/collections/(\w+)/points/scroll", "scroll"),
        ("PUT", r"/collections/(\w+)/points", "upsert"),
        ("POST", r"/collections/(\w+)/points/batch", "batch"),
        ("POST", r"/collections/(\w+)/points/delete", "delete"),
        ("POST", r"/collections/(\w+)/points/query", "query"),
    )

    def answer(self) -> None:
        length = int(self.headers.get("content-length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        path = self.path.partition("?")[0]
        if path == "/":
            return self.reply(200, {"title": "stub", "version": "1.16.0"})
        what, name = next(
            (what, found[1])
            for method, pattern, what in self.table
            if method == self.command and (found := re.fullmatch(pattern, path))
        )
        with self.server.lock:
            self.server.requests.append((what, length))
        if trouble := self.server.trouble(what, body):
            return self.reply(trouble[0], {"status": {"error": f"told to answer {trouble[0]}"}}, trouble[1])
        try:
            with self.server.lock:
                result = self.server.call(what, name, body)
        except Exception as error:
            return self.reply(400, {"status": {"error": str(error)}})
        plain = [one.model_dump() for one in result] if isinstance(result, list) else result
        return self.reply(
            200, {"result": plain.model_dump() if hasattr(plain, "model_dump") else plain, "status": "ok", "time": 0.0}
        )

    do_GET = do_PUT = do_POST = do_PATCH = answer  # noqa: N815


def fail(times: int, what: str, answer: Answer) -> Callable[[str, Any], Answer | None]:
    """A `trouble`: the first calls of `what` get this answer."""
    left = [times]

    def trouble(called: str, body: Any) -> Answer | None:
        if called != what or not left[0]:
            return None
        left[0] -= 1
        return answer

    return trouble


@contextmanager
def stub_qdrant(client: QdrantClient | None = None) -> Iterator[StubQdrant]:
    """A server that runs until the block is left; `client` answers, by default an embedded Qdrant."""
    with serving(StubQdrant(client or QdrantClient(":memory:"))) as server:
        try:
            yield server
        finally:
            server.client.close()
