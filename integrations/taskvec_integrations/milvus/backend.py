"""A Milvus collection as a Backend: what it records, looks up, writes and finds. Knows the client, nothing of encoding."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from pymilvus import MilvusClient

from taskvec_integrations.ingestion.backend import HASH_FIELD, Backend, Found, Hit, Point, Record, Vector
from taskvec_integrations.milvus import errors
from taskvec_integrations.milvus.layout import Layout
from taskvec_integrations.milvus.server import Server

METRICS = {"COSINE": "cosine", "IP": "dot", "L2": "euclid"}
PROPERTY = "taskvec"
"""The property of a collection that holds the record, as JSON."""
# Seconds for one call: without a limit pymilvus waits for ever for a server that hangs. Loading and flushing wait for its disk.
TIMEOUT = 60
LONG_TIMEOUT = 600


class MilvusBackend(Backend):
    """The collection `name` of a client, laid out as `layout` says; `consistency_level` of one that is made here."""

    retry_after = staticmethod(errors.retry_after)
    refused = staticmethod(errors.refused)
    reason = staticmethod(errors.reason)

    def __init__(self, client: MilvusClient, name: str, layout: Layout, consistency_level: str) -> None:
        if not isinstance(client, MilvusClient):
            raise TypeError(f"client is {client!r}: a MilvusClient was expected (aingest and asearch use it in a thread)")
        self.name = name
        self._client = client
        self._layout = layout
        self._consistency_level = consistency_level

    def find(self) -> Found | None:
        """The collection with its record, loaded; ValueError where it has no place for ids, vectors or payloads."""
        if not self._client.has_collection(self.name, timeout=TIMEOUT):
            return None
        told = self._client.describe_collection(self.name, timeout=TIMEOUT)
        dimensions = self._layout.adopt(self.name, told)
        written = told["properties"].get(PROPERTY)
        record = Record.from_json(written) if written else None
        if record and not self._index_names():  # a run that made the collection was killed before it was done
            self._client.create_index(self.name, self._layout.make(dimensions, self._server)[1], timeout=LONG_TIMEOUT)
        metric = self._metric()
        self._client.load_collection(self.name, timeout=LONG_TIMEOUT)
        return Found(record, dimensions, metric, record is None and self._is_empty())

    def create(self, record: Record) -> None:
        """Make the collection; ValueError, before anything is sent, where the server lacks the precision."""
        schema, indexes = self._layout.make(record.dimensions, self._server)
        self._client.create_collection(
            self.name,
            schema=schema,
            index_params=indexes,
            consistency_level=self._consistency_level,
            properties={PROPERTY: record.to_json()},
            timeout=LONG_TIMEOUT,
        )

    def adopt(self, record: Record) -> None:
        """Record in a collection that the user made."""
        self._client.alter_collection_properties(self.name, properties={PROPERTY: record.to_json()}, timeout=TIMEOUT)

    def stored(self, document_ids: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """All points of these documents."""
        held: dict[str, dict[str, str]] = {}
        for row in self._select("document_id", document_ids):
            held.setdefault(row["document_id"], {})[row[self._layout.id_field]] = row.get(HASH_FIELD, "")
        return held

    def write(self, points: Sequence[Point]) -> None:
        """Upsert; where that keeps dynamic fields which a point no longer has, delete the rows and upsert them again.

        Nothing is deleted before it was accepted. Meanwhile such rows carry no hash: a run that is killed here is made good by
        the next one.
        """
        vectors = self._layout.kind.pack(np.stack([point.vector for point in points]))
        rows = [self._layout.row(point, vector) for point, vector in zip(points, vectors, strict=True)]
        mixed = self._mixed(rows) if self._server.merges_upserts else {}
        self._upsert([{**row, HASH_FIELD: ""} if row[self._layout.id_field] in mixed else row for row in rows])
        if mixed:
            self.delete(list(mixed))
            self._upsert(list(mixed.values()))

    def delete(self, ids: Sequence[str]) -> None:
        """Delete points by id."""
        self._client.delete(self.name, ids=list(ids), timeout=TIMEOUT)

    def query(self, vector: Vector, limit: int, filter: Any) -> list[Hit]:
        """Nearest points, with all but the vectors."""
        (hits,) = self._client.search(
            self.name,
            list(self._layout.kind.pack(vector[None])),
            anns_field=self._layout.vector_field,
            limit=limit,
            filter=filter or "",
            output_fields=self._layout.shown,
            timeout=TIMEOUT,
        )
        return [Hit.of(hit[self._layout.id_field], hit["distance"], hit["entity"]) for hit in hits]

    def finish(self) -> None:
        """Flush: only what was flushed gets an index."""
        self._client.flush(self.name, timeout=LONG_TIMEOUT)

    @cached_property
    def _server(self) -> Server:
        return Server.parse(self._client.get_server_version(timeout=TIMEOUT))

    def _upsert(self, rows: list[dict[str, Any]]) -> None:
        self._client.upsert(self.name, rows, timeout=TIMEOUT)

    def _mixed(self, rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """By id the rows that replace one with fields that they do not have."""
        new = {row[self._layout.id_field]: row for row in rows}
        held = {row[self._layout.id_field]: row for row in self._select(self._layout.id_field, list(new), self._layout.shown)}
        return {id: new[id] for id, row in held.items() if row.keys() - new[id].keys()}

    def _select(
        self, field: str, values: Sequence[str], shown: Sequence[str] = ("document_id", HASH_FIELD)
    ) -> Sequence[Mapping[str, Any]]:
        """The rows that have one of these values in a field, as of now."""
        rows: Sequence[Mapping[str, Any]] = self._client.query(
            self.name,
            filter=f"{field} in [{', '.join(map(quote, values))}]",
            output_fields=[self._layout.id_field, *shown],
            consistency_level="Strong",
            timeout=TIMEOUT,
        )
        return rows

    def _index_names(self) -> Sequence[str]:
        names: Sequence[str] = self._client.list_indexes(self.name, self._layout.vector_field, timeout=TIMEOUT)
        return names

    def _metric(self) -> str:
        if not (names := self._index_names()):
            raise ValueError(f"collection {self.name!r} has no index on {self._layout.vector_field}: make one with metric COSINE")
        metric: str = self._client.describe_index(self.name, names[0], timeout=TIMEOUT)["metric_type"]
        return METRICS.get(metric, metric)

    def _is_empty(self) -> bool:
        return not self._client.query(
            self.name, filter="", limit=1, output_fields=[self._layout.id_field], consistency_level="Strong", timeout=TIMEOUT
        )


def quote(text: str) -> str:
    """A string literal of Milvus's filter expressions, which do not know all of JSON's escapes."""
    for mark, escaped in (("\\", r"\\"), ('"', r"\""), ("\n", r"\n"), ("\r", r"\r")):
        text = text.replace(mark, escaped)
    return f'"{text}"'
