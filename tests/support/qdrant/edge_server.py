"""A Qdrant server on loopback for tests: the REST paths our clients use, answered by Qdrant's own engine in process (Edge).

Every body that arrives is kept in `requests`. BM25 Documents are embedded here, as a server does. Groups, which Edge
lacks, are put together from its queries.
"""

import contextlib
import json
import tempfile
import threading
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import qdrant_edge as edge

from support import loopback
from support.loopback import JsonHandler, LoopbackServer

Json = Any

INDEXING_THRESHOLD_KILOBYTES = 1  # build indexes and quantize at once, so that a small test sees them
DISTANCES = {"Cosine": edge.Distance.Cosine, "Dot": edge.Distance.Dot}
DATATYPES = {
    "float16": edge.VectorStorageDatatype.Float16,
    "float32": edge.VectorStorageDatatype.Float32,
    "uint8": edge.VectorStorageDatatype.Uint8,
    None: None,
}


def hnsw(value: Json) -> Any:
    if value is None:
        return None
    payload_m, on_disk = value.get("payload_m"), value.get("on_disk")
    return edge.HnswIndexConfig(
        m=value.get("m", 16), ef_construct=100, full_scan_threshold=1, payload_m=payload_m, on_disk=on_disk
    )


def vector_params(value: Json) -> Any:
    scalar = (value.get("quantization_config") or {}).get("scalar")
    quantization = scalar and edge.ScalarQuantizationConfig(
        type=edge.ScalarType.Int8, quantile=scalar.get("quantile"), always_ram=scalar.get("always_ram")
    )
    multi = value.get("multivector_config")
    return edge.EdgeVectorParams(
        size=value["size"],
        distance=DISTANCES[value["distance"]],
        datatype=DATATYPES[value.get("datatype")],
        on_disk=value.get("on_disk"),
        hnsw_config=hnsw(value.get("hnsw_config")),
        quantization_config=quantization,
        multivector_config=multi and edge.MultiVectorConfig(comparator=edge.MultiVectorComparator.MaxSim),
    )


def collection_config(body: Json) -> Any:
    vectors = body["vectors"]
    named = {"": vectors} if "size" in vectors else vectors
    return edge.EdgeConfig(
        vectors={name: vector_params(params) for name, params in named.items()},
        sparse_vectors={
            name: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf) for name in body.get("sparse_vectors") or {}
        },
        optimizers=edge.EdgeOptimizersConfig(indexing_threshold=INDEXING_THRESHOLD_KILOBYTES),
    )


def vector(value: Json, *, query: bool) -> Any:
    """A vector, named ones, or a Document, which must be one for BM25."""
    if isinstance(value, dict) and "text" in value:
        assert value["model"] == "Qdrant/bm25", value["model"]
        bm25 = edge.Bm25(edge.Bm25Config(**value.get("options") or {}))
        return bm25.embed_query(value["text"]) if query else bm25.embed_document(value["text"])
    if isinstance(value, dict):
        return {name: vector(one, query=query) for name, one in value.items()}
    return value


def condition(value: Json) -> Any:
    if "must" in value:
        return matching(value)
    return edge.FieldCondition(key=value["key"], match=edge.MatchValue(value["match"]["value"]))


def matching(value: Json) -> Any:
    return value and edge.Filter(must=[condition(one) for one in value["must"]])


def search_params(value: Json) -> Any:
    quantization = (value or {}).get("quantization")
    return value and edge.SearchParams(
        exact=value.get("exact") or False, quantization=quantization and edge.QuantizationSearchParams(**quantization)
    )


def stage(value: Json, kind: Any) -> Any:
    """A query request or a prefetch, which is one inside another."""
    query = value.get("query")
    if isinstance(query, dict) and "fusion" in query:
        query = edge.Fusion.Rrf(k=2)
    elif query is not None:
        nearest = query["nearest"] if isinstance(query, dict) and "nearest" in query else query
        query = edge.Query.Nearest(vector(nearest, query=True), value.get("using"))
    prefetch = value.get("prefetch") or []
    extra = {"with_payload": True} if kind is edge.QueryRequest else {}
    return kind(
        limit=value.get("limit") or 10,
        query=query,
        prefetches=[stage(one, edge.Prefetch) for one in ([prefetch] if isinstance(prefetch, dict) else prefetch)],
        filter=matching(value.get("filter")),
        params=search_params(value.get("params")),
        **extra,
    )


def points_of(body: Json) -> list[Any]:
    """The points of an upsert in either form; a batch has its ids, vectors and payloads in columns."""
    points = body.get("points")
    if points is None:
        batch = body["batch"]
        vectors = batch["vectors"]
        if isinstance(vectors, dict):
            vectors = [dict(zip(vectors, row, strict=True)) for row in zip(*vectors.values(), strict=True)]
        columns = zip(batch["ids"], vectors, batch.get("payloads") or [None] * len(vectors), strict=True)
        points = [{"id": id_, "vector": row, "payload": payload} for id_, row, payload in columns]
    return [edge.Point(one["id"], vector(one["vector"], query=False), one.get("payload") or {}) for one in points]


def to_json(value: Any) -> Json:
    if isinstance(value, edge.SparseVector):
        return {"indices": value.indices, "values": value.values}
    return {name: to_json(one) for name, one in value.items()} if isinstance(value, dict) else value


class EdgeCollection:
    """One Edge shard behind the methods of the REST interface."""

    def __init__(self, path: str, body: Json) -> None:
        self.shard = edge.EdgeShard.create(path, collection_config(body))
        self.lock = threading.Lock()

    def upsert(self, body: Json) -> Json:
        self.shard.update(edge.UpdateOperation.upsert_points(points_of(body)))
        return {"operation_id": 0, "status": "completed"}

    def index(self, body: Json) -> Json:
        schema = edge.KeywordIndexParams(is_tenant=body["field_schema"].get("is_tenant"))
        self.shard.update(edge.UpdateOperation.create_field_index(body["field_name"], schema))
        return {"operation_id": 0, "status": "completed"}

    def update_vectors(self, body: Json) -> Json:
        vectors = [edge.PointVectors(one["id"], vector(one["vector"], query=False)) for one in body["points"]]
        self.shard.update(edge.UpdateOperation.update_vectors(vectors))
        return {"operation_id": 0, "status": "completed"}

    def batch(self, body: Json) -> Json:
        methods = {"upsert": self.upsert, "update_vectors": self.update_vectors}
        return [methods[name](value) for operation in body["operations"] for name, value in operation.items()]

    def query(self, body: Json) -> Json:
        hits = self.shard.query(stage(body, edge.QueryRequest))
        return {"points": [{"id": hit.id, "version": 0, "score": hit.score, "payload": hit.payload} for hit in hits]}

    def query_batch(self, body: Json) -> Json:
        return [self.query(one) for one in body["searches"]]

    def query_groups(self, body: Json) -> Json:
        """As the server does it: many hits, the best `group_size` of each group, the best `limit` groups."""
        groups: dict[Any, list[Json]] = {}
        for hit in self.query({**body, "limit": body["limit"] * body["group_size"]})["points"]:
            groups.setdefault(hit["payload"][body["group_by"]], []).append(hit)
        found = [{"id": name, "hits": hits[: body["group_size"]]} for name, hits in groups.items()]
        return {"groups": found[: body["limit"]]}

    def retrieve(self, body: Json) -> Json:
        records = self.shard.retrieve(body["ids"], with_payload=True, with_vector=True)
        return [{"id": one.id, "payload": one.payload, "vector": to_json(one.vector)} for one in records]


ROUTES = {
    ("PUT", "index"): EdgeCollection.index,
    ("PUT", "points"): EdgeCollection.upsert,
    ("POST", "points"): EdgeCollection.retrieve,
    ("PUT", "points/vectors"): EdgeCollection.update_vectors,
    ("POST", "points/batch"): EdgeCollection.batch,
    ("POST", "points/query"): EdgeCollection.query,
    ("POST", "points/query/batch"): EdgeCollection.query_batch,
    ("POST", "points/query/groups"): EdgeCollection.query_groups,
}


class EdgeServer(LoopbackServer):
    """`requests` are the (method, path, body) it was sent, `collections` what they made."""

    def __init__(self, folder: str) -> None:
        super().__init__(("127.0.0.1", 0), EdgeHandler)
        self.folder = folder
        self.requests: list[tuple[str, str, Json]] = []
        self.collections: dict[str, EdgeCollection] = {}

    def answer(self, method: str, path: str, body: Json) -> Json:
        _, name, *rest = path.split("?", maxsplit=1)[0].strip("/").split("/", 2)
        if not rest:
            self.collections[name] = EdgeCollection(f"{self.folder}/{name}", body)
            return True
        collection = self.collections[name]
        with collection.lock:
            return ROUTES[method, rest[0]](collection, body)


class EdgeHandler(JsonHandler):
    protocol_version = "HTTP/1.1"
    server: EdgeServer

    def respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.path == "/":
            self.reply(200, {"title": "qdrant", "version": version("qdrant-client")})
            return
        value = json.loads(body) if body else None
        self.server.requests.append((self.command, self.path, value))
        try:
            answer = self.server.answer(self.command, self.path, value)
            self.reply(200, {"result": answer, "status": "ok", "time": 0.0})
        except Exception as error:
            self.reply(400, {"status": {"error": f"{type(error).__name__}: {error}"}, "time": 0.0})

    do_GET = do_PUT = do_POST = respond  # noqa: N815


@contextlib.contextmanager
def edge_server() -> Iterator[EdgeServer]:
    """A server for the length of a with-block."""
    with tempfile.TemporaryDirectory() as folder, loopback.serving(EdgeServer(folder)) as server:
        try:
            yield server
        finally:
            for collection in server.collections.values():
                collection.shard.close()
