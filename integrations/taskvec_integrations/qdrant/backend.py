"""A Qdrant collection as a Backend: what it records, looks up, writes and finds. Knows the client, nothing of encoding."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from qdrant_client import AsyncQdrantClient, QdrantClient, models

from taskvec_integrations.ingestion.backend import HASH_FIELD, Backend, Found, Hit, Point, Record, Vector
from taskvec_integrations.qdrant import errors
from taskvec_integrations.qdrant.thread_safe_client import Calls

METRICS = {
    models.Distance.COSINE: "cosine",
    models.Distance.DOT: "dot",
    models.Distance.EUCLID: "euclid",
    models.Distance.MANHATTAN: "manhattan",
}
METADATA = "taskvec"
# Where client or server know no collection metadata (before 1.16), the record is the payload of this point. It has no vector, so
# that no search can return it.
RECORD_POINT = "3c1d5e0a-7b52-5b7e-8a55-2d6f0e9a4c11"
SCROLL = 4096

Datatype = Literal["float32", "float16"]


class QdrantBackend(Backend):
    """The collection `name` of a client; `vector_name` where its vectors are named ones, `datatype` for one that is made."""

    writes_payloads = True

    retry_after = staticmethod(errors.retry_after)
    refused = staticmethod(errors.refused)
    reason = staticmethod(errors.reason)

    def __init__(self, client: QdrantClient | AsyncQdrantClient, name: str, vector_name: str, datatype: Datatype) -> None:
        if datatype not in ("float32", "float16"):
            raise ValueError(
                f"datatype is {datatype!r}: use float32 or float16 (uint8 keeps only whole numbers from 0 to 255, and nothing is "
                "left of a vector of length 1; for int8 or binary make the collection yourself, with a quantization_config)"
            )
        self.name = name
        self._call = Calls(client)
        self.threaded = not self._call.in_process
        self._vector_name = vector_name
        self._datatype = datatype
        self._held: dict[str, dict[str, str]] | None = None

    def find(self) -> Found | None:
        """The collection with its record."""
        self._held = None
        if not self._call("collection_exists", self.name):
            return None
        config = self._call("get_collection", self.name).config
        params = self._params(config.params.vectors)
        record = self._record(config)
        empty = record is None and self._call("count", self.name).count == 0
        return Found(record, params.size, METRICS[params.distance], empty)

    def create(self, record: Record) -> None:
        """Make the collection, with an index for looking documents up."""
        params = models.VectorParams(
            size=record.dimensions, distance=models.Distance.COSINE, datatype=models.Datatype(self._datatype)
        )
        config = {self._vector_name: params} if self._vector_name else params
        if self._call.accepts("create_collection", "metadata"):
            self._call("create_collection", self.name, config, metadata={METADATA: asdict(record)})
        else:
            self._call("create_collection", self.name, config)
        self._complete(record)

    def adopt(self, record: Record) -> None:
        """Record in a collection that the user made."""
        if self._call.accepts("update_collection", "metadata"):
            self._call("update_collection", self.name, metadata={METADATA: asdict(record)})
        self._complete(record)

    def stored(self, document_ids: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """All points of these documents, by the index; an embedded Qdrant has none, and is read once as a whole."""
        if self._call.in_process:
            if self._held is None:
                self._held = self._scroll(None)
            return {id: self._held[id] for id in document_ids if id in self._held}
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
        self._call("upsert", self.name, batch, wait=True)
        self._remember(points)

    def write_payloads(self, points: Sequence[Point]) -> None:
        """Overwrite payloads, all in one request."""
        operations = [
            models.OverwritePayloadOperation(overwrite_payload=models.SetPayload(payload=point.fields(), points=[point.id]))
            for point in points
        ]
        self._call("batch_update_points", self.name, operations, wait=True)
        self._remember(points)

    def delete(self, ids: Sequence[str]) -> None:
        """Delete points by id."""
        self._call("delete", self.name, models.PointIdsList(points=list(ids)), wait=True)
        gone = set(ids)
        for held in (self._held or {}).values():
            for id in gone & held.keys():
                del held[id]

    def query(self, vector: Vector, limit: int, filter: Any) -> list[Hit]:
        """Nearest points, with all but the vector."""
        using = self._vector_name or None
        found = self._call("query_points", self.name, query=vector.tolist(), using=using, limit=limit, query_filter=filter)
        return [Hit.of(str(point.id), point.score, point.payload or {}) for point in found.points]

    @staticmethod
    def weigh(point: Point) -> int:
        """JSON in UTF-8: some 21 characters for each number of a vector."""
        return point.payload_bytes + 3 * len(point.text) + 21 * len(point.vector) + 256

    def _params(self, vectors: models.VectorParams | dict[str, models.VectorParams] | None) -> models.VectorParams:
        """The field that vectors go into; ValueError where the collection has no such field or one that they do not fit."""
        named = vectors if isinstance(vectors, dict) else {"": vectors} if vectors else {}
        if (params := named.get(self._vector_name)) is None:
            have = " and ".join(repr(name) if name else "an unnamed one" for name in named) or "none"
            wanted = f"vector_name={self._vector_name!r}" if self._vector_name else "the unnamed vector (no vector_name)"
            raise ValueError(f"collection {self.name!r} has these vectors: {have}; this store was told to use {wanted}")
        if params.multivector_config or params.datatype == models.Datatype.UINT8:
            kind = "multivectors" if params.multivector_config else "datatype uint8, which keeps nothing of a vector of length 1"
            raise ValueError(f"collection {self.name!r} has {kind}; this store writes one float32 or float16 vector a chunk")
        return params

    def _record(self, config: Any) -> Record | None:
        """From the collection's metadata, else from the reserved point."""
        written = (getattr(config, "metadata", None) or {}).get(METADATA)
        if written is None and (points := self._call("retrieve", self.name, [RECORD_POINT])):
            written = points[0].payload.get(METADATA)
        return Record.of(written) if written else None

    def _complete(self, record: Record) -> None:
        """The reserved point where metadata was not kept, and the index."""
        if self._record(self._call("get_collection", self.name).config) is None:
            point = models.PointStruct(id=RECORD_POINT, vector={}, payload={METADATA: asdict(record)})
            self._call("upsert", self.name, [point], wait=True)
        if not self._call.in_process:
            self._call("create_payload_index", self.name, "document_id", models.PayloadSchemaType.KEYWORD, wait=True)

    def _scroll(self, wanted: models.Filter | None) -> dict[str, dict[str, str]]:
        held: dict[str, dict[str, str]] = {}
        offset = None
        while True:
            fields = ["document_id", HASH_FIELD]
            points, offset = self._call(
                "scroll", self.name, scroll_filter=wanted, limit=SCROLL, offset=offset, with_payload=fields, with_vectors=False
            )
            for point in points:
                if "document_id" in (payload := point.payload or {}):
                    held.setdefault(payload["document_id"], {})[str(point.id)] = payload.get(HASH_FIELD, "")
            if offset is None:
                return held

    def _remember(self, points: Sequence[Point]) -> None:
        if self._held is not None:
            for point in points:
                self._held.setdefault(point.document_id, {})[point.id] = point.hash
