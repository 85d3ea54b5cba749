"""Where the versions of Pinecone's SDK differ, 7 to 10: how a search is called, how JSON is written, what is async.

Its classes that we return are in answers.py and old_answers.py.
"""

import inspect
import json
from collections.abc import Mapping
from typing import Any

import orjson
import pinecone

from taskvec.integration import Vectors

VERSION = int(pinecone.__version__.partition(".")[0])


def json_size(value: object) -> int:
    """Bytes that this SDK sends for a value: version 7 writes JSON with spaces and ASCII only."""
    return len(json.dumps(value)) if VERSION < 8 else len(orjson.dumps(value))


def short_floats(vectors: Vectors) -> list[Any]:
    """Float32 vectors as lists of the shortest numbers that are those values in float32: 13 KB of JSON for 1024, not 22."""
    numbers: list[Any] = orjson.loads(orjson.dumps(vectors, option=orjson.OPT_SERIALIZE_NUMPY))
    return numbers


def search_arguments(search: Any, query: Mapping[str, Any], **others: Any) -> dict[str, Any]:
    """The arguments for a method `search` of an index: the query as one mapping before SDK 9, its parts since."""
    flat = "top_k" in inspect.signature(search).parameters
    given = {name: value for name, value in others.items() if value is not None}
    return {**given, **query} if flat else {**given, "query": dict(query)}


def plain(value: Any) -> dict[str, Any]:
    """What a mapping or an object of the SDK holds."""
    if isinstance(value, Mapping):
        return dict(value)
    return dict(value.to_dict() if hasattr(value, "to_dict") else value.as_dict())


def embed_query(clause: Any) -> Any:
    """A clause of a document search as an EmbedQuery (SDK 10) where it is one, also as a dict; None where it is another."""
    if isinstance(clause, Mapping) and clause.get("type") == "embed":
        return pinecone.EmbedQuery(**{name: value for name, value in clause.items() if name != "type"})
    return clause if isinstance(clause, pinecone.EmbedQuery) else None


def dense_query(field: str, values: list[float]) -> Any:
    """A clause of a document search by a vector (SDK 10)."""
    return pinecone.DenseVectorQuery(field=field, values=values)


def is_async(index: Any) -> bool:
    """Whether the methods of an index are coroutine functions."""
    return inspect.iscoroutinefunction(inspect.unwrap(index.upsert))
