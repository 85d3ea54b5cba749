"""What Pinecone's documentation says a request may hold: written by hand from the API reference, not from any SDK.

https://docs.pinecone.io/reference/api/2026-07/data-plane (and 2025-10, which SDK 9 sends).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

Kind = Any
"""A type, a tuple of types, a Shape, a one-item list (of that kind), or a function that says what is wrong."""


@dataclass(frozen=True)
class Shape:
    """An object: fields that must be there, fields that may be, and the kind of every other one (None: there is none)."""

    required: Mapping[str, Kind] = field(default_factory=dict)
    optional: Mapping[str, Kind] = field(default_factory=dict)
    others: Kind | None = None


def number(value: object) -> str | None:
    return None if isinstance(value, Real) and not isinstance(value, bool) else f"{value!r} is not a number"


def whole(value: object) -> str | None:
    return None if isinstance(value, int) and not isinstance(value, bool) else f"{value!r} is not a whole number"


def anything(value: object) -> None:
    return None


def problems(kind: Kind, value: Any, where: str) -> list[str]:
    """What is wrong with a value, in words."""
    if isinstance(kind, Shape):
        return _object_problems(kind, value, where)
    if isinstance(kind, list):
        if not isinstance(value, list):
            return [f"{where}: a list was expected, not {value!r}"]
        return [problem for at, item in enumerate(value) for problem in problems(kind[0], item, f"{where}[{at}]")]
    if isinstance(kind, type | tuple):
        return [] if isinstance(value, kind) else [f"{where}: {value!r} is not a {kind}"]
    problem = kind(value)
    return [f"{where}: {problem}"] if problem else []


def _object_problems(shape: Shape, value: Any, where: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{where}: an object was expected, not {value!r}"]
    known = {**shape.required, **shape.optional}
    missing = [f"{where}: {name} is missing" for name in shape.required if name not in value]
    unknown = [f"{where}: {name} is unknown" for name in value if name not in known and shape.others is None]
    present = {name: known.get(name, shape.others) for name in value if name in known or shape.others is not None}
    inside = [problem for name, kind in present.items() for problem in problems(kind, value[name], f"{where}.{name}")]
    return missing + unknown + inside


OBJECT = Shape(others=anything)
SPARSE = Shape({"indices": [whole], "values": [number]})
VECTOR = Shape({"id": str}, {"values": [number], "sparseValues": SPARSE, "metadata": OBJECT})
QUERY_VECTOR = Shape(optional={"values": [number], "sparse_values": [number], "sparse_indices": [whole]})
SEARCH_QUERY = Shape(
    {"top_k": whole},
    {"inputs": Shape(others=anything), "vector": QUERY_VECTOR, "id": str, "filter": OBJECT, "match_terms": OBJECT},
)
RERANK = Shape({"model": str, "rank_fields": [str]}, {"top_n": whole, "parameters": OBJECT, "query": str})
DOCUMENT = Shape({"_id": str}, others=anything)


def scoring(value: Any) -> str | None:
    """A clause of a document search."""
    kinds = {
        "dense_vector": Shape({"type": str, "field": str, "values": [number]}),
        "sparse_vector": Shape({"type": str, "field": str, "sparse_values": SPARSE}),
        "text": Shape({"type": str, "fields": [str], "query": str}),
        "query_string": Shape({"type": str, "query": str}),
        "embed": Shape({"type": str, "field": str, "query": str}),
        "sparse_embed": Shape({"type": str, "field": str, "query": str}),
    }
    kind = kinds.get(str(value.get("type"))) if isinstance(value, dict) else None
    return f"{value!r} is not a clause" if kind is None else "; ".join(problems(kind, value, "clause")) or None


BODIES: Mapping[str, Shape] = {
    "describe_index_stats": Shape(optional={"filter": OBJECT}),
    "vectors/upsert": Shape({"vectors": [VECTOR]}, {"namespace": str}),
    "vectors/update": Shape(
        optional={
            "id": str,
            "values": [number],
            "sparseValues": SPARSE,
            "setMetadata": OBJECT,
            "namespace": str,
            "filter": OBJECT,
            "dryRun": bool,
        }
    ),
    "vectors/delete": Shape(optional={"ids": [str], "deleteAll": bool, "namespace": str, "filter": OBJECT}),
    "vectors/fetch_by_metadata": Shape(
        {"filter": OBJECT}, {"namespace": str, "limit": whole, "paginationToken": str, "includeValues": bool}
    ),
    "query": Shape(
        {"topK": whole},
        {
            "vector": [number],
            "id": str,
            "namespace": str,
            "filter": OBJECT,
            "includeValues": bool,
            "includeMetadata": bool,
            "sparseVector": SPARSE,
            "scanFactor": number,
            "maxCandidates": whole,
        },
    ),
    "records/upsert": Shape({"_id": str}, others=anything),  # each line of it
    "records/search": Shape({"query": SEARCH_QUERY}, {"fields": [str], "rerank": RERANK}),
    "documents/upsert": Shape({"documents": [DOCUMENT]}),
    "documents/search": Shape({"score_by": [scoring], "top_k": whole}, {"include_fields": [str], "filter": OBJECT}),
    "documents/fetch": Shape(
        optional={"ids": [str], "filter": OBJECT, "include_fields": [str], "pagination_token": str, "limit": whole}
    ),
    "documents/update": Shape(optional={"documents": [DOCUMENT], "filter": OBJECT, "set_fields": OBJECT, "remove_fields": [str]}),
    "documents/delete": Shape(optional={"ids": [str], "filter": OBJECT, "delete_all": bool}),
    "documents/list": Shape(optional={"prefix": str, "limit": whole, "pagination_token": str}),
    "indexes/configure": Shape(
        optional={"tags": Shape(others=str), "deletion_protection": str, "schema": OBJECT, "read_capacity": OBJECT}
    ),
    "vectors/list": Shape(optional={"namespace": str, "prefix": str, "limit": str, "paginationToken": str}),  # the query string
    "vectors/fetch": Shape({"ids": [str]}, {"namespace": str}),  # the query string
    "namespaces/list": Shape(optional={"limit": str, "paginationToken": str, "prefix": str}),  # the query string
}
"""The body of each operation, or its query string where it has no body."""
