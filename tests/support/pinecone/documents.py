"""The operations of an emulated document index: documents under a schema with dense vector fields."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from support.pinecone.data import Data, Record, check_id
from support.pinecone.filters import RejectedError, matches
from support.pinecone.operations import PAGE, VECTORS, Body, Operation, delete, page_of, sorted_records

USAGE = {"read_units": 1}


@dataclass
class Documents(Data):
    """Data of an index with a schema: {"fields": {name: {"type": "dense_vector", "dimension": 3, "metric": "cosine"}}}."""

    schema: Mapping[str, Any] = field(default_factory=dict)

    @property
    def vector_kind(self) -> dict[str, Any]:
        """Nothing: every field has its own."""
        return {}

    def dense(self) -> dict[str, int]:
        """The dense fields with their dimensions."""
        fields = self.schema["fields"].items()
        return {name: kind["dimension"] for name, kind in fields if kind["type"] == "dense_vector"}


def _upsert(data: Documents, namespace: str, body: Body) -> Body:
    dense = data.dense()
    records = []
    for document in body["documents"]:
        id = check_id(document["_id"])
        fields = {name: data.vector(value, dense[name]) if name in dense else value for name, value in document.items()}
        if any(value is None for value in fields.values()):
            raise RejectedError(400, f"document {id!r} has a null field")
        records.append(Record(id, None, {name: value for name, value in fields.items() if name != "_id"}))
    if len({record.id for record in records}) < len(records):
        raise RejectedError(400, "document IDs must be unique within a request")
    data.upsert(namespace, records)
    return {"upserted_count": len(records)}


def _as_json(record: Record, wanted: list[str] | None) -> Body:
    everything = wanted is not None and "*" in wanted
    shown = {name: value for name, value in record.fields.items() if everything or name in (wanted or [])}
    return {"_id": record.id, **{name: value.tolist() if hasattr(value, "tolist") else value for name, value in shown.items()}}


def _search(data: Documents, namespace: str, body: Body) -> Body:
    clause = body["score_by"][0]
    dense = data.dense()
    if clause["type"] != "dense_vector" or len(body["score_by"]) > 1:
        raise RejectedError(400, f"the emulator scores by one dense_vector, not by {clause['type']}")
    if clause["field"] not in dense:
        raise RejectedError(400, f"Field {clause['field']!r} is not a dense_vector field of the schema")
    vector = data.vector(clause["values"], dense[clause["field"]])
    found = data.best(namespace, vector, body["top_k"], body.get("filter"), clause["field"])
    hits = [{**_as_json(record, body.get("include_fields")), "_score": score} for record, score in found]
    return {"matches": hits, "namespace": namespace, "usage": USAGE}


def _fetch(data: Documents, namespace: str, body: Body) -> Body:
    if bool(body.get("ids")) == bool(body.get("filter")):
        raise RejectedError(400, "Exactly one of ids and filter must be provided")
    ids, filter = body.get("ids"), body.get("filter")
    found = [
        record for record in sorted_records(data, namespace) if (record.id in ids if ids else matches(filter, record.fields))
    ]
    page, more = page_of(found, body.get("pagination_token"), body.get("limit", PAGE))
    shown = {record.id: _as_json(record, body.get("include_fields", ["*"])) for record in page}
    return {"documents": shown, "namespace": namespace, "usage": USAGE, **more}


def _update(data: Documents, namespace: str, body: Body) -> Body:
    if "documents" not in body:
        raise RejectedError(400, "the emulator updates by documents only")
    records, dense = data.records(namespace), data.dense()

    def change() -> None:
        for document in body["documents"]:
            if (record := records.get(document["_id"])) is not None:
                new = {name: value for name, value in document.items() if not name.startswith("_")}
                vectors = {name: data.vector(value, dense[name]) for name, value in new.items() if name in dense}
                left = {name: value for name, value in record.fields.items() if name not in document.get("_remove_fields", ())}
                record.fields = {**left, **new, **vectors}

    data.write(change)
    return {}


def _list(data: Documents, namespace: str, body: Body) -> Body:
    ids = [{"_id": record.id} for record in sorted_records(data, namespace) if record.id.startswith(body.get("prefix", ""))]
    page, more = page_of(ids, body.get("pagination_token"), body.get("limit", PAGE))
    return {"documents": page, "namespace": namespace, "usage": USAGE, **more}


DOCUMENTS: Mapping[str, Operation] = {
    **{name: VECTORS[name] for name in VECTORS if name.startswith("namespaces/")},
    "describe_index_stats": VECTORS["describe_index_stats"],
    "documents/upsert": _upsert,
    "documents/search": _search,
    "documents/fetch": _fetch,
    "documents/delete": delete,
    "documents/update": _update,
    "documents/list": _list,
}
"""The operations of an index made with a schema."""
