"""The operations of an emulated Pinecone: from a checked body to a response in the shapes of the API reference."""

from collections.abc import Callable, Mapping
from typing import Any

from support.pinecone.data import MAX_ITEMS, Data, Record, Vector, check_id, check_metadata
from support.pinecone.filters import RejectedError, matches

Body = dict[str, Any]
Operation = Callable[[Any, str, Any], Any]
"""(data, namespace, body or query string) -> the response."""

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
    body: Body = {"id": record.id}
    if values and record.values is not None:
        body["values"] = record.values.tolist()
    if metadata and record.fields:
        body["metadata"] = record.fields
    return body


def _fetch(data: Data, namespace: str, query: Body) -> Body:
    if len(query["ids"]) > MAX_ITEMS:
        raise RejectedError(400, f"The number of ids {len(query['ids'])} exceeds the maximum of {MAX_ITEMS}")
    records = data.records(namespace)
    found = {id: _as_json(records[id]) for id in query["ids"] if check_id(id) in records}
    return {"vectors": found, "namespace": namespace, "usage": USAGE}


def _fetch_by_metadata(data: Data, namespace: str, body: Body) -> Body:
    if not body["filter"]:
        raise RejectedError(400, "Empty filter provided for fetch by metadata request")
    found = [record for record in sorted_records(data, namespace) if matches(body["filter"], record.fields)]
    page, more = page_of(found, body.get("paginationToken"), body.get("limit", PAGE))
    return {"vectors": {record.id: _as_json(record) for record in page}, "namespace": namespace, "usage": USAGE, **more}


def sorted_records(data: Data, namespace: str) -> list[Record]:
    return [record for _, record in sorted(data.records(namespace).items())]


def page_of(items: list[Any], token: str | None, limit: int) -> tuple[list[Any], Body]:
    """One page and what tells of the next, if there is one."""
    start = int(token) if token else 0
    more = {"pagination": {"next": str(start + limit)}} if start + limit < len(items) else {}
    return items[start : start + limit], more


def _list(data: Data, namespace: str, query: Body) -> Body:
    limit = int(query.get("limit", PAGE))
    if not 1 <= limit <= PAGE:
        raise RejectedError(400, f"limit must be between 1 and {PAGE}, got {limit}")
    ids = [{"id": record.id} for record in sorted_records(data, namespace) if record.id.startswith(query.get("prefix", ""))]
    page, more = page_of(ids, query.get("paginationToken"), limit)
    return {"vectors": page, "namespace": namespace, "usage": USAGE, **more}


def _update(data: Data, namespace: str, body: Body) -> Body:
    if ("id" in body) == ("filter" in body):
        raise RejectedError(400, "Exactly one of id or filter must be provided")
    values = data.vector(body["values"]) if "values" in body else None
    changes = check_metadata(body.get("setMetadata", {}))
    records = data.records(namespace)
    wanted = [records[body["id"]]] if body.get("id") in records else []
    if "filter" in body:
        wanted = [record for record in records.values() if matches(body["filter"], record.fields)]

    def change() -> None:
        for record in wanted:
            record.fields = {**record.fields, **changes}
            record.values = record.values if values is None else values

    if not body.get("dryRun"):
        data.write(change)
    return {"matchedRecords": len(wanted)} if "filter" in body else {}


def delete(data: Data, namespace: str, body: Body) -> Body:
    ids, filter, everything = body.get("ids") or [], body.get("filter"), body.get("deleteAll") or body.get("delete_all")
    if sum(map(bool, (ids, filter, everything))) != 1:
        raise RejectedError(400, "Exactly one of ids, deleteAll and filter must be provided")
    if len(ids) > MAX_ITEMS:
        raise RejectedError(400, f"The number of ids {len(ids)} exceeds the maximum of {MAX_ITEMS}")
    matches(filter, {})  # a bad one is refused at once
    chosen = set(ids)
    data.delete(namespace, lambda record: everything or record.id in chosen or (bool(filter) and matches(filter, record.fields)))
    return {}


def _query_vector(data: Data, namespace: str, vector: Any, id: str | None) -> Vector | None:
    """The vector to search with; None where an id is not stored."""
    if (vector is None) == (id is None):
        raise RejectedError(400, "Exactly one of vector and id must be provided")
    if vector is not None:
        return data.vector(vector)
    records = data.records(namespace)
    return records[id].values if id in records else None


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
        name: sum(matches(body.get("filter"), record.fields) for record in records.values())
        for name, records in data.namespaces.items()
    }
    stats = {
        "namespaces": {name: {"vectorCount": count} for name, count in counts.items()},
        "indexFullness": 0,
        "totalVectorCount": sum(counts.values()),
    }
    return {**stats, **data.vector_kind}


def _describe_namespace(data: Data, namespace: str, query: Body) -> Body:
    if namespace not in data.namespaces:
        raise RejectedError(404, "Namespace not found")
    return {"name": namespace, "record_count": len(data.namespaces[namespace])}


def _list_namespaces(data: Data, namespace: str, query: Body) -> Body:
    names = sorted(name for name in data.namespaces if name.startswith(query.get("prefix", "")))
    page, more = page_of(names, query.get("paginationToken"), int(query.get("limit", PAGE)))
    described = [{"name": name, "record_count": len(data.namespaces[name])} for name in page]
    return {"namespaces": described, "total_count": len(names), **more}


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
    "vectors/delete": delete,
    "query": _query,
    "records/upsert": _no_inference,
    "records/search": _search,
    "namespaces/list": _list_namespaces,
    "namespaces/describe": _describe_namespace,
    "namespaces/delete": _delete_namespace,
}
"""The operations of an index made with a dimension and a metric."""
