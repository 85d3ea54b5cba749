"""Qdrant's real engine in process (qdrant-edge), called like the embedded Qdrant that the stand-in server asks.

Schemas are kept by an embedded Qdrant, points and searches are the engine's. It knows no collection metadata.
"""

from pathlib import Path
from typing import Any

import qdrant_edge as edge
from qdrant_client import QdrantClient, models
from qdrant_client.http.models import QueryResponse

DISTANCES = {models.Distance.COSINE: edge.Distance.Cosine, models.Distance.DOT: edge.Distance.Dot}
DATATYPES = {
    None: None,
    models.Datatype.FLOAT32: edge.VectorStorageDatatype.Float32,
    models.Datatype.FLOAT16: edge.VectorStorageDatatype.Float16,
}


class EdgeClient(QdrantClient):
    """One shard for each collection, in a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(":memory:")
        self._folder = folder
        self._shards: dict[str, Any] = {}

    def create_collection(self, name: str, vectors_config: Any, **rest: Any) -> bool:  # type: ignore[override]
        params = edge.EdgeVectorParams(
            size=vectors_config.size, distance=DISTANCES[vectors_config.distance], datatype=DATATYPES[vectors_config.datatype]
        )
        made = super().create_collection(name, vectors_config)
        self._shards[name] = edge.EdgeShard.create(str(self._folder / name), edge.EdgeConfig(vectors=params))
        index = edge.UpdateOperation.create_field_index("document_id", edge.PayloadSchemaType.Keyword)
        self._shards[name].update(index)
        return made

    def update_collection(self, name: str, **rest: Any) -> bool:  # type: ignore[override]
        return True

    def upsert(self, name: str, points: Any, **rest: Any) -> models.UpdateResult:  # type: ignore[override]
        if isinstance(points, models.Batch):
            made = [edge.Point(*one) for one in zip(points.ids, points.vectors, points.payloads or [], strict=True)]
        else:
            made = [edge.Point(point.id, point.vector, point.payload) for point in points]
        return self._update(name, edge.UpdateOperation.upsert_points(made))

    def overwrite_payload(self, name: str, payload: Any, points: Any, **rest: Any) -> models.UpdateResult:  # type: ignore[override]
        return self._update(name, edge.UpdateOperation.overwrite_payload(points, payload))

    def delete(self, name: str, points_selector: Any, **rest: Any) -> models.UpdateResult:  # type: ignore[override]
        return self._update(name, edge.UpdateOperation.delete_points(points_selector.points))

    def count(self, name: str, **rest: Any) -> models.CountResult:  # type: ignore[override]
        return models.CountResult(count=self._shards[name].count(edge.CountRequest(exact=True)))

    def retrieve(self, name: str, ids: Any, **rest: Any) -> list[models.Record]:  # type: ignore[override]
        return [_record(point) for point in self._shards[name].retrieve(ids, True, False)]

    def scroll(self, name: str, scroll_filter: Any = None, limit: int = 10, **rest: Any) -> Any:  # type: ignore[override]
        request = edge.ScrollRequest(
            offset=rest.get("offset"),
            limit=limit,
            filter=_filter(scroll_filter),
            with_payload=rest.get("with_payload", True),
            with_vector=rest.get("with_vectors", False),
        )
        points, offset = self._shards[name].scroll(request)
        return [_record(point) for point in points], offset and str(offset)

    def query_points(self, name: str, query: Any, **rest: Any) -> QueryResponse:  # type: ignore[override]
        request = edge.QueryRequest(
            limit=rest["limit"],
            query=edge.Query.Nearest(getattr(query, "nearest", query), rest["using"]),
            filter=_filter(rest["query_filter"]),
            with_payload=True,
        )
        found = self._shards[name].query(request)
        return QueryResponse(
            points=[models.ScoredPoint(id=str(one.id), version=0, score=one.score, payload=one.payload) for one in found]
        )

    def close(self, **rest: Any) -> None:  # type: ignore[override]
        for shard in self._shards.values():
            shard.close()
        super().close()

    def _update(self, name: str, operation: Any) -> models.UpdateResult:
        self._shards[name].update(operation)
        return models.UpdateResult(operation_id=0, status=models.UpdateStatus.COMPLETED)


def _record(point: Any) -> models.Record:
    return models.Record(id=str(point.id), payload=point.payload, vector=point.vector)


def _filter(wanted: models.Filter | None) -> Any:
    if wanted is None:
        return None
    conditions: list[Any] = wanted.must if isinstance(wanted.must, list) else []
    return edge.Filter(must=[edge.FieldCondition(condition.key, _match(condition.match)) for condition in conditions])


def _match(match: Any) -> Any:
    return edge.MatchAny(match.any) if isinstance(match, models.MatchAny) else edge.MatchValue(match.value)
