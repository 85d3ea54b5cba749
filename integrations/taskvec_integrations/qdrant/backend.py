"""A Qdrant collection as a Backend: what it records, looks up, writes and finds. Knows the client, nothing of encoding."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from qdrant_client import AsyncQdrantClient, QdrantClient, models

from taskvec_integrations.ingestion.backend import Backend, Found
from taskvec_integrations.ingestion.points import HASH_FIELD, Hit, Point, Record, Vector
from taskvec_integrations.qdrant import errors
from taskvec_integrations.qdrant.thread_safe_client import ThreadSafeClient

METRICS = {
    models.Distance.COSINE: "cosine",
    models.Distance.DOT: "dot",
    models.Distance.EUCLID: "euclid",
    models.Distance.MANHATTAN: "manhattan",
}
METADATA_KEY = "taskvec"
# Where the client or the server is older than 1.16 and knows no collection metadata, the record is the payload of this point.
# It has no vector, so that no search can return it.
RECORD_POINT = "3c1d5e0a-7b52-5b7e-8a55-2d6f0e9a4c11"
SCROLL_POINTS = 4096

Datatype = Literal["float32", "float16"]


class QdrantBackend(Backend):
    """A collection of a Qdrant client.

    Args:
        client: of any kind; an async one is used in the event loop of `aingest` and `asearch`.
        name: of the collection.
        vector_name: of the named vector to use; empty for the unnamed one.
        datatype: of the vectors of a collection that is created here.

    Raises:
        ValueError: `datatype` is neither float32 nor float16.
    """

    writes_payloads = True

    retry_after = staticmethod(errors.retry_after)
    refused = staticmethod(errors.refused)
    reason = staticmethod(errors.reason)

    def __init__(self, client: QdrantClient | AsyncQdrantClient, name: str, vector_name: str, datatype: Datatype) -> None:
        if datatype not in ("float32", "float16"):
            raise ValueError(
                f"datatype is {datatype!r}: use float32 or float16 (uint8 keeps only whole numbers from 0 to 255, so nothing "
                "would be left of a vector of length 1; for int8 or binary create the collection yourself, with a "
                "quantization_config)"
            )
        self.name = name
        self._client = ThreadSafeClient(client)
        self.threaded = not self._client.in_process
        self._vector_name = vector_name
        self._datatype = datatype
        self._known_hashes: dict[str, dict[str, str]] | None = None

    def find(self) -> Found | None:
        """The collection with its record."""
        self._known_hashes = None
        if not self._client.call("collection_exists", self.name):
            return None
        config = self._client.call("get_collection", self.name).config
        params = self._params(config.params.vectors)
        record = self._record(config)
        empty = record is None and self._client.call("count", self.name).count == 0
        return Found(record, params.size, METRICS[params.distance], empty)

    def create(self, record: Record) -> None:
        """Create the collection, with an index for looking documents up."""
        params = models.VectorParams(
            size=record.dimensions, distance=models.Distance.COSINE, datatype=models.Datatype(self._datatype)
        )
        config = {self._vector_name: params} if self._vector_name else params
        if self._client.accepts("create_collection", "metadata"):
            self._client.call("create_collection", self.name, config, metadata={METADATA_KEY: asdict(record)})
        else:
            self._client.call("create_collection", self.name, config)
        self._finish_setup(record)

    def adopt(self, record: Record) -> None:
        """Write the record into a collection that the user created."""
        if self._client.accepts("update_collection", "metadata"):
            self._client.call("update_collection", self.name, metadata={METADATA_KEY: asdict(record)})
        self._finish_setup(record)

    def stored(self, document_ids: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """All points of these documents, by the index; an embedded Qdrant has no index and is read once as a whole."""
        if self._client.in_process:
            if self._known_hashes is None:
                self._known_hashes = self._scroll(None)
            return {id: self._known_hashes[id] for id in document_ids if id in self._known_hashes}
        any_of = models.FieldCondition(key="document_id", match=models.MatchAny(any=list(document_ids)))
        return self._scroll(models.Filter(must=[any_of]))

    def write(self, points: Sequence[Point]) -> None:
        """Upsert, and wait until it is done."""
        vectors: Any = [point.vector.tolist() for point in points]
        batch = models.Batch(
            ids=[point.id for point in points],
            vectors={self._vector_name: vectors} if self._vector_name else vectors,
            payloads=[point.fields() for point in points],
        )
        self._client.call("upsert", self.name, batch, wait=True)
        self._remember(points)

    def write_payloads(self, points: Sequence[Point]) -> None:
        """Overwrite payloads, all in one request."""
        operations = [
            models.OverwritePayloadOperation(overwrite_payload=models.SetPayload(payload=point.fields(), points=[point.id]))
            for point in points
        ]
        self._client.call("batch_update_points", self.name, operations, wait=True)
        self._remember(points)

    def delete(self, ids: Sequence[str]) -> None:
        """Delete points by id."""
        self._client.call("delete", self.name, models.PointIdsList(points=list(ids)), wait=True)
        deleted = set(ids)
        for hashes in (self._known_hashes or {}).values():
            for id in deleted & hashes.keys():
                del hashes[id]

    def query(self, vector: Vector, limit: int, filter: Any) -> list[Hit]:
        """Nearest points, with all but the vector."""
        using = self._vector_name or None
        found = self._client.call("query_points", self.name, query=vector.tolist(), using=using, limit=limit, query_filter=filter)
        return [Hit.of(str(point.id), point.score, point.payload or {}) for point in found.points]

    @staticmethod
    def weigh(point: Point) -> int:
        """JSON in UTF-8: some 21 characters for each number of a vector."""
        return point.payload_bytes + 3 * len(point.text) + 21 * len(point.vector) + 256

    def _params(self, vectors: models.VectorParams | dict[str, models.VectorParams] | None) -> models.VectorParams:
        """The vector to use; ValueError where the collection has no such vector, or one that cannot hold ours."""
        named = vectors if isinstance(vectors, dict) else {"": vectors} if vectors else {}
        if (params := named.get(self._vector_name)) is None:
            existing = " and ".join(repr(name) if name else "an unnamed one" for name in named) or "none"
            wanted = repr(self._vector_name) if self._vector_name else "the unnamed vector"
            raise ValueError(
                f"collection {self.name!r} has these vectors: {existing}. This store uses {wanted}: pass another vector_name"
            )
        if params.multivector_config or params.datatype == models.Datatype.UINT8:
            kind = "multivectors" if params.multivector_config else "datatype uint8, which keeps nothing of a vector of length 1"
            raise ValueError(
                f"collection {self.name!r} has {kind}. This store writes one float32 or float16 vector for each chunk: use "
                "another collection, or another vector_name"
            )
        return params

    def _record(self, config: Any) -> Record | None:
        """The record in the collection's metadata, or else in the reserved point."""
        written = (getattr(config, "metadata", None) or {}).get(METADATA_KEY)
        if written is None and (points := self._client.call("retrieve", self.name, [RECORD_POINT])):
            written = points[0].payload.get(METADATA_KEY)
        return Record.of(written) if written else None

    def _finish_setup(self, record: Record) -> None:
        """Write the reserved point where the metadata was not kept, and create the index."""
        if self._record(self._client.call("get_collection", self.name).config) is None:
            point = models.PointStruct(id=RECORD_POINT, vector={}, payload={METADATA_KEY: asdict(record)})
            self._client.call("upsert", self.name, [point], wait=True)
        if not self._client.in_process:
            self._client.call("create_payload_index", self.name, "document_id", models.PayloadSchemaType.KEYWORD, wait=True)

    def _scroll(self, scroll_filter: models.Filter | None) -> dict[str, dict[str, str]]:
        """{document id: {point id: hash}} of all points that pass a filter."""
        hashes: dict[str, dict[str, str]] = {}
        offset = None
        while True:
            fields = ["document_id", HASH_FIELD]
            points, offset = self._client.call(
                "scroll",
                self.name,
                scroll_filter=scroll_filter,
                limit=SCROLL_POINTS,
                offset=offset,
                with_payload=fields,
                with_vectors=False,
            )
            for point in points:
                if "document_id" in (payload := point.payload or {}):
                    hashes.setdefault(payload["document_id"], {})[str(point.id)] = payload.get(HASH_FIELD, "")
            if offset is None:
                return hashes

    def _remember(self, points: Sequence[Point]) -> None:
        if self._known_hashes is not None:
            for point in points:
                self._known_hashes.setdefault(point.document_id, {})[point.id] = point.hash
