"""The query of a record search: from what a caller passed to a query by a vector, which Pinecone answers on every index.

https://docs.pinecone.io/reference/api/2026-07/data-plane/search_records: text it answers only with a model of its own.
"""

from collections.abc import Mapping
from typing import Any

from taskvec_integrations.pinecone import sdk

Object = Mapping[str, Any]

SOURCES = ("inputs", "vector", "id")


def read(query: Any, **parts: Any) -> dict[str, Any]:
    """The query as one mapping, however it came: as a mapping or the SDK's SearchQuery, or in parts (None: not given)."""
    given = _present(parts)
    if query is not None and given:
        raise TypeError(f"query= came with {', '.join(given)}: put everything into query, or leave it out")
    read = given if query is None else _present(sdk.plain(query))
    sources = [name for name in SOURCES if name in read]
    if len(sources) != 1:
        raise ValueError(f"a search is by one of inputs, vector and id, this one has {' and '.join(sources) or 'none of them'}")
    if not isinstance(vector := read.get("vector"), Mapping | None):
        read["vector"] = {"values": [float(value) for value in vector]}  # SDK 7 to 9.0 take no list here, and none an array
    return read


def text(query: Object) -> str | None:
    """The text that searches; None where a vector or an id does."""
    inputs = query.get("inputs")
    if inputs is None:
        return None
    if not isinstance(inputs, Mapping) or [*inputs] != ["text"] or not isinstance(inputs["text"], str):
        raise TypeError(f"inputs is {inputs!r}: {{'text': str}} was expected")
    return str(inputs["text"])


def by_vector(query: Object, values: list[float]) -> dict[str, Any]:
    """The same query by a vector instead of a text."""
    others = {name: value for name, value in query.items() if name not in SOURCES}
    return {**others, "vector": {"values": values}}


def reranked(rerank: Any, text: str) -> dict[str, Any] | None:
    """What reranks, by the text where it has no query of its own: beside a vector Pinecone knows none."""
    return None if rerank is None else {"query": text, **_present(sdk.plain(rerank))}


def _present(given: Object) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}
