"""The operations of an emulated Pinecone: from a checked body to an answer in the shapes of the API reference."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from support.pinecone.data import MAX_ITEMS, Data, Record, check_id, check_metadata
from support.pinecone.filters import RejectedError, matches

Body = dict[str, Any]
Operation = Callable[[Data, str, Any], Any]
"""(data, namespace, body or query string) -> the answer."""

PAGE = 100
USAGE = {"readUnits": 1}


def _upsert(data: Data, namespace: str, body: Body) -> Body:
    records = []
    for vector in body["vectors"]:
        fields = check_metadata(vector.get("metadata", {}))
        records.append(Record(check_id(vector["id"]), data.vector(vector.get("values", [])), fields))
    data.upsert(namespace, records)
    return {"upsertedCount": len(records)}


def _as_json(record: Record, values: bool = True, metadata: bool = True) -> Body:
    held: Body = {"id": record.id}
    if values and record.values is not None:
        held["values"] = record.values.tolist()
    if metadata and record.fields:
        held["metadata"] = record.fields
    return held


def _fetch(data: Data, namespace: str, query: Body) -> Body:
    if len(query["ids"]) > MAX_ITEMS:
        raise RejectedError(400, f"The number of ids {len(query['ids'])} exceeds the maximum of {MAX_ITEMS}")
    held = data.records(namespace)
    found = {id: _as_json(held[id]) for id in query["ids"] if check_id(id) in held}
    return {"vectors": found, "namespace": namespace, "usage": USAGE}


def _fetch_by_metadata(data: Data, namespace: str, body: Body) -> Body:
    if not body["filter"]:
        raise RejectedError(400, "Empty filter provided for fetch by metadata request")
    found = [record for record in _sorted(data, namespace) if matches(body["filter"], record.fields)]
    page, more = _page(found, body.get("paginationToken"), body.get("limit", PAGE))
    return {"vectors": {record.id: _as_json(record) for record in page}, "namespace": namespace, "usage": USAGE, **more}


def _sorted(data: Data, namespace: str) -> list[Record]:
    return [record for _, record in sorted(data.records(namespace).items())]


def _page(items: list[Any], token: str | None, limit: int) -> tuple[list[Any], Body]:
    """One page and what tells of the next, if there is one."""
    start = int(token) if token else 0
    more = {"pagination": {"next": str(start + limit)}} if start + limit < len(items) else {}
    return items[start : start + limit], more


def _list(data: Data, namespace: str, query: Body) -> Body:
    limit = int(query.get("limit", PAGE))
    if not 1 <= limit <= PAGE:
        raise RejectedError(400, f"limit must be between 1 and {PAGE}, got {limit}")
    ids = [{"id": record.id} for record in _sorted(data, namespace) if record.id.startswith(query.get("prefix", ""))]
    page, more = _page(ids, query.get("paginationToken"), limit)
    return {"vectors": page, "namespace": namespace, "usage": USAGE, **more}


def _update(data: Data, namespace: str, body: Body) -> Body:
    if ("id" in body) == ("filter" in body):
        raise RejectedError(400, "Exactly one of id or filter must be provided")
    values = data.vector(body["values"]) if "values" in body else None
    changes = check_metadata(body.get("setMetadata", {}))
    held = data.records(namespace)
    wanted = [held[body["id"]]] if body.get("id") in held else []
    if "filter" in body:
        wanted = [record for record in held.values() if matches(body["filter"], record.fields)]

    def change() -> None:
        for record in wanted:
            record.fields = {**record.fields, **changes}
            record.values = record.values if values is None else values

    if not body.get("dryRun"):
        data.write(change)
    return {"matchedRecords": len(wanted)} if "filter" in body else {}


def _delete(data: Data, namespace: str, body: Body) -> Body:
    ids, filter, everything = body.get("ids"), body.get("filter"), body.get("deleteAll") or body.get("delete_all")
    if sum(map(bool, (ids, filter, everything))) != 1:
        raise RejectedError(400, "Exactly one of ids, deleteAll and filter must be provided")
    if len(ids or []) > MAX_ITEMS:
        raise RejectedError(400, f"The number of ids {len(ids)} exceeds the maximum of {MAX_ITEMS}")
    matches(filter, {})  # a bad one is refused at once
    chosen = set(ids or [])
    data.delete(namespace, lambda record: everything or record.id in chosen or (bool(filter) and matches(filter, record.fields)))
    return {}


def _query_vector(data: Data, namespace: str, vector: Any, id: str | None) -> np.ndarray | None:
    """The vector to search with; None where an id is not stored."""
    if (vector is None) == (id is None):
        raise RejectedError(400, "Exactly one of vector and id must be provided")
    if vector is not None:
        return data.vector(vector)
    held = data.records(namespace)
    return held[id].values if id in held else None


def _query(data: Data, namespace: str, body: Body) -> Body:
    vector = _query_vector(data, namespace, body.get("vector"), body.get("id"))
    found = [] if vector is None else data.best(namespace, vector, body["topK"], body.get("filter"), None)
    shown = {"values": body.get("includeValues", False), "metadata": body.get("includeMetadata", False)}
    hits = [{**_as_json(record, **shown), "score": score} for record, score in found]
    return {"matches": hits, "namespace": namespace, "usage": USAGE}


def _search(data: Data, namespace: str, body: Body) -> Body:
    """Search records: by a vector or an id on any index, by text on those with integrated embedding only, which this is not."""
    query, fields, rerank = body["query"], body.get("fields"), body.get("rerank")
    if "inputs" in query:
        raise RejectedError(400, "Integrated inference is not configured for this index")
    vector = _query_vector(data, namespace, query.get("vector", {}).get("values"), query.get("id"))
    found = [] if vector is None else data.best(namespace, vector, query["top_k"], query.get("filter"), None)
    wanted = None if fields in (None, ["*"]) else set(fields)
    hits = [
        {"_id": record.id, "_score": score, "fields": {k: v for k, v in record.fields.items() if wanted is None or k in wanted}}
        for record, score in found
    ]
    usage = {"read_units": 1}
    if rerank:
        hits, usage = _rerank(hits, rerank), {**usage, "rerank_units": 1}
    return {"result": {"hits": hits}, "usage": usage}


def _rerank(hits: list[Body], rerank: Body) -> list[Body]:
    """By how many words of the query a hit's text holds."""
    if "query" not in rerank:
        raise RejectedError(400, "rerank needs a query where the search has no text")
    field, words = rerank["rank_fields"][0], set(rerank["query"].lower().split())
    if any(field not in hit["fields"] for hit in hits):
        raise RejectedError(400, f"rank field {field!r} is not in the fields of every hit")
    scored = [{**hit, "_score": len(words & set(hit["fields"][field].lower().split())) / len(words)} for hit in hits]
    return sorted(scored, key=lambda hit: hit["_score"], reverse=True)[: rerank.get("top_n", len(hits))]


def _stats(data: Data, namespace: str, body: Body) -> Body:
    counts = {
        name: sum(matches(body.get("filter"), record.fields) for record in held.values())
        for name, held in data.namespaces.items()
    }
    told = {
        "namespaces": {name: {"vectorCount": count} for name, count in counts.items()},
        "indexFullness": 0,
        "totalVectorCount": sum(counts.values()),
    }
    return {**told, **data.vector_kind}


def _describe_namespace(data: Data, namespace: str, query: Body) -> Body:
    if namespace not in data.namespaces:
        raise RejectedError(404, "Namespace not found")
    return {"name": namespace, "record_count": len(data.namespaces[namespace])}


def _list_namespaces(data: Data, namespace: str, query: Body) -> Body:
    names = sorted(name for name in data.namespaces if name.startswith(query.get("prefix", "")))
    page, more = _page(names, query.get("paginationToken"), int(query.get("limit", PAGE)))
    held = [{"name": name, "record_count": len(data.namespaces[name])} for name in page]
    return {"namespaces": held, "total_count": len(names), **more}


def _delete_namespace(data: Data, namespace: str, query: Body) -> Body:
    data.delete(namespace, lambda record: True)
    return {}


def _no_inference(data: Data, namespace: str, body: Any) -> Body:
    raise RejectedError(400, "Integrated inference is not configured for this index")


VECTORS: Mapping[str, Operation] = {
    "describe_index_stats": _stats,
    "vectors/upsert": _upsert,
    "vectors/fetch": _fetch,
    "vectors/fetch_by_metadata": _fetch_by_metadata,
    "vectors/list": _list,
    "vectors/update": _update,
    "vectors/delete": _delete,
    "query": _query,
    "records/upsert": _no_inference,
    "records/search": _search,
    "namespaces/list": _list_namespaces,
    "namespaces/describe": _describe_namespace,
    "namespaces/delete": _delete_namespace,
}
"""What an index made with a dimension and a metric answers."""
