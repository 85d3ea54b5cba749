"""A Milvus collection as a Backend: what it records, looks up, writes and finds. Knows the client, nothing of encoding."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from pymilvus import MilvusClient

from taskvec_integrations.ingestion.backend import Backend, Found
from taskvec_integrations.ingestion.points import HASH_FIELD, Hit, Point, Record, Vector
from taskvec_integrations.milvus import errors
from taskvec_integrations.milvus.collection_fields import CollectionFields
from taskvec_integrations.milvus.server import Server

METRICS = {"COSINE": "cosine", "IP": "dot", "L2": "euclid"}
RECORD_PROPERTY = "taskvec"
"""The property of a collection that holds the record, as JSON."""
# For one call: without a limit pymilvus waits forever for a server that hangs. Loading and flushing wait for its disk.
TIMEOUT_SECONDS = 60
LONG_TIMEOUT_SECONDS = 600


class MilvusBackend(Backend):
    """A collection of a Milvus client.

    Args:
        client: for milvus-lite or a server.
        name: of the collection.
        fields: which of its fields are used.
        consistency_level: of a collection that is created here.

    Raises:
        TypeError: `client` is not a MilvusClient.
    """

    retry_after = staticmethod(errors.retry_after)
    refused = staticmethod(errors.refused)
    reason = staticmethod(errors.reason)

    def __init__(self, client: MilvusClient, name: str, fields: CollectionFields, consistency_level: str) -> None:
        if not isinstance(client, MilvusClient):
            raise TypeError(f"client is {client!r}: a MilvusClient was expected (aingest and asearch use it in a thread)")
        self.name = name
        self._client = client
        self._fields = fields
        self._consistency_level = consistency_level

    def find(self) -> Found | None:
        """The collection with its record, loaded; ValueError where it has no place for ids, vectors or payloads."""
        if not self._client.has_collection(self.name, timeout=TIMEOUT_SECONDS):
            return None
        description = self._client.describe_collection(self.name, timeout=TIMEOUT_SECONDS)
        dimensions = self._fields.adopt(self.name, description)
        written = description["properties"].get(RECORD_PROPERTY)
        record = Record.from_json(written) if written else None
        if record and not self._index_names():  # a run was killed between creating the collection and its index
            self._client.create_index(
                self.name, self._fields.new_schema(dimensions, self._server)[1], timeout=LONG_TIMEOUT_SECONDS
            )
        metric = self._metric()
        self._client.load_collection(self.name, timeout=LONG_TIMEOUT_SECONDS)
        return Found(record, dimensions, metric, record is None and self._is_empty())

    def create(self, record: Record) -> None:
        """Create the collection; ValueError, before anything is sent, where the server lacks the precision."""
        schema, indexes = self._fields.new_schema(record.dimensions, self._server)
        self._client.create_collection(
            self.name,
            schema=schema,
            index_params=indexes,
            consistency_level=self._consistency_level,
            properties={RECORD_PROPERTY: record.to_json()},
            timeout=LONG_TIMEOUT_SECONDS,
        )

    def adopt(self, record: Record) -> None:
        """Write the record into a collection that the user created."""
        self._client.alter_collection_properties(
            self.name, properties={RECORD_PROPERTY: record.to_json()}, timeout=TIMEOUT_SECONDS
        )

    def stored(self, document_ids: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """All points of these documents."""
        hashes: dict[str, dict[str, str]] = {}
        for row in self._select("document_id", document_ids):
            hashes.setdefault(row["document_id"], {})[row[self._fields.id_field]] = row.get(HASH_FIELD, "")
        return hashes

    def write(self, points: Sequence[Point]) -> None:
        """Upsert; where that keeps dynamic fields which a point no longer has, delete the rows and upsert them again.

        Nothing is deleted before the server has accepted its replacement. Until then such rows carry no hash, so that the next
        run mends them if this one is killed here.
        """
        vectors = self._fields.kind.pack(np.stack([point.vector for point in points]))
        rows = [self._fields.to_row(point, vector) for point, vector in zip(points, vectors, strict=True)]
        outdated = self._rows_with_outdated_fields(rows) if self._server.merges_upserts else {}
        self._upsert([{**row, HASH_FIELD: ""} if row[self._fields.id_field] in outdated else row for row in rows])
        if outdated:
            self.delete(list(outdated))
            self._upsert(list(outdated.values()))

    def delete(self, ids: Sequence[str]) -> None:
        """Delete points by id."""
        self._client.delete(self.name, ids=list(ids), timeout=TIMEOUT_SECONDS)

    def query(self, vector: Vector, limit: int, filter: Any) -> list[Hit]:
        """Nearest points, with all but the vectors."""
        (hits,) = self._client.search(
            self.name,
            list(self._fields.kind.pack(vector[None])),
            anns_field=self._fields.vector_field,
            limit=limit,
            filter=filter or "",
            output_fields=self._fields.output_fields,
            timeout=TIMEOUT_SECONDS,
        )
        return [Hit.of(hit[self._fields.id_field], hit["distance"], hit["entity"]) for hit in hits]

    def finish(self) -> None:
        """Flush: only what was flushed gets an index."""
        self._client.flush(self.name, timeout=LONG_TIMEOUT_SECONDS)

    @cached_property
    def _server(self) -> Server:
        return Server.parse(self._client.get_server_version(timeout=TIMEOUT_SECONDS))

    def _upsert(self, rows: list[dict[str, Any]]) -> None:
        self._client.upsert(self.name, rows, timeout=TIMEOUT_SECONDS)

    def _rows_with_outdated_fields(self, rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """By id the rows that replace a row with fields which they do not have."""
        id_field = self._fields.id_field
        new = {row[id_field]: row for row in rows}
        old = {row[id_field]: row for row in self._select(id_field, list(new), self._fields.output_fields)}
        return {id: new[id] for id, row in old.items() if row.keys() - new[id].keys()}

    def _select(
        self, field: str, values: Sequence[str], output_fields: Sequence[str] = ("document_id", HASH_FIELD)
    ) -> Sequence[Mapping[str, Any]]:
        """The rows that have one of these values in a field, as of now."""
        rows: Sequence[Mapping[str, Any]] = self._client.query(
            self.name,
            filter=f"{field} in [{', '.join(map(quote, values))}]",
            output_fields=[self._fields.id_field, *output_fields],
            consistency_level="Strong",
            timeout=TIMEOUT_SECONDS,
        )
        return rows

    def _index_names(self) -> Sequence[str]:
        names: Sequence[str] = self._client.list_indexes(self.name, self._fields.vector_field, timeout=TIMEOUT_SECONDS)
        return names

    def _metric(self) -> str:
        if not (names := self._index_names()):
            raise ValueError(
                f"collection {self.name!r} has no index on {self._fields.vector_field}: create one with metric COSINE"
            )
        metric: str = self._client.describe_index(self.name, names[0], timeout=TIMEOUT_SECONDS)["metric_type"]
        return METRICS.get(metric, metric)

    def _is_empty(self) -> bool:
        return not self._client.query(
            self.name,
            filter="",
            limit=1,
            output_fields=[self._fields.id_field],
            consistency_level="Strong",
            timeout=TIMEOUT_SECONDS,
        )


def quote(text: str) -> str:
    """A string literal for Milvus's filter expressions, which know only some of JSON's escapes."""
    for mark, escaped in (("\\", r"\\"), ('"', r"\""), ("\n", r"\n"), ("\r", r"\r")):
        text = text.replace(mark, escaped)
    return f'"{text}"'
