"""The query of a record search: turns a search by text into a search by vector, which Pinecone answers on every index.

Pinecone itself answers a search by text only with one of its own models:
https://docs.pinecone.io/reference/api/2026-07/data-plane/search_records
"""

from collections.abc import Mapping
from typing import Any

JsonObject = Mapping[str, Any]

SOURCES = ("inputs", "vector", "id")
"""What a search can start from; every search has exactly one of them."""


def as_dict(value: Any) -> dict[str, Any]:
    """A new dict of what a mapping or an object of the SDK holds."""
    return dict(value if isinstance(value, Mapping) else value.to_dict())


def read_query(query: Any, **parts: Any) -> dict[str, Any]:
    """The query as one dict, from a mapping, the SDK's SearchQuery, or parts (None: left out)."""
    present = _without_none(parts)
    if query is not None and present:
        raise TypeError(f"query= came with {', '.join(present)}: put everything into query, or leave query out")
    read = present if query is None else _without_none(as_dict(query))
    sources = [name for name in SOURCES if name in read]
    if len(sources) != 1:
        raise ValueError(
            f"a search needs exactly one of inputs, vector and id, this one has {' and '.join(sources) or 'none of them'}"
        )
    if not isinstance(vector := read.get("vector"), Mapping | None):
        read["vector"] = {"values": [float(value) for value in vector]}  # SDK 9.0 sends a list as it is, which is refused
    return read


def query_text(query: JsonObject) -> str | None:
    """The text of a search by text; None for a search by a vector or an id."""
    inputs = query.get("inputs")
    if inputs is None:
        return None
    if not isinstance(inputs, Mapping) or [*inputs] != ["text"] or not isinstance(inputs["text"], str):
        raise TypeError(f"inputs is {inputs!r}: pass {{'text': str}}")
    return str(inputs["text"])


def with_vector(query: JsonObject, values: list[float]) -> dict[str, Any]:
    """The same query by a vector instead of a text."""
    others = {name: value for name, value in query.items() if name not in SOURCES}
    return {**others, "vector": {"values": values}}


def with_rerank_query(rerank: Any, text: str) -> dict[str, Any] | None:
    """The rerank settings with the text of the search as query, unless they have one; Pinecone sees only the vector."""
    return None if rerank is None else {"query": text, **_without_none(as_dict(rerank))}


def _without_none(values: JsonObject) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
