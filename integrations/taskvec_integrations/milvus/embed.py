"""Texts where vectors go, in rows and in searches: finding them by a collection's fields, and putting vectors in their places.

Knows what `describe_collection` returns and an encoder, no connection. Nothing that a caller passed is changed in place.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pymilvus import AnnSearchRequest

from taskvec import Encoder, Task, Usage
from taskvec.integration import cut_dimensions
from taskvec_integrations.lazy_encoder import LazyEncoder
from taskvec_integrations.milvus.vector_types import DENSE_TYPES, VectorType
from taskvec_integrations.task_choice import EmbedSettings, TaskChoice
from taskvec_integrations.truncation import warn_of_truncation

TextFields = str | Mapping[str, str] | None
"""The field whose text a row's missing vector is made of: one name for all collections, or a name for each collection."""


class VectorField(NamedTuple):
    """A field of dense vectors; `kind` says how they are stored."""

    name: str
    dim: int
    kind: VectorType


@dataclass(frozen=True)
class VectorFields:
    """The vector fields of a collection.

    Attributes:
        collection: its name, or an alias.
        dense: by name, the fields that texts are embedded for. Sparse fields and those that functions of the server fill are
            not among them: the server takes their text itself.
        names: of all vector fields.
    """

    collection: str
    dense: Mapping[str, VectorField]
    names: Sequence[str]

    @classmethod
    def from_description(cls, collection: str, description: Mapping[str, Any]) -> "VectorFields":
        """The vector fields in what `describe_collection` returned for a collection or an alias of it."""
        by_server = {name for function in description.get("functions") or () for name in function["output_field_names"]}
        vectors = [field for field in description["fields"] if field["type"].name.endswith("VECTOR")]
        dense = {
            field["name"]: VectorField(field["name"], int(field["params"]["dim"]), DENSE_TYPES[field["type"]])
            for field in vectors
            if field["type"] in DENSE_TYPES and field["name"] not in by_server
        }
        return cls(collection, dense, [field["name"] for field in vectors])

    def find_searched(self, anns_field: str | None) -> VectorField | None:
        """The field that a text is embedded for; None where the server takes the text itself, or there is no such field.

        Raises:
            ValueError: there are several vector fields and `anns_field` names none.
        """
        if not anns_field and len(self.names) > 1:
            raise ValueError(f"{self.collection} has the vector fields {', '.join(self.names)}: name one with anns_field")
        return self.dense.get(anns_field or "".join(self.names))


class RowEmbedder:
    """Embeds the texts of a call: each once, for the operation's task, for every field that wants it.

    Args:
        encoder: the client's encoder, or a model's name.
        document_task: the task of texts in rows, see `TaskChoice`.
        query_task: the task of texts in searches.
        text_field: the field whose text a missing vector is made of.

    Raises:
        TypeError: `encoder` or `text_field` has the wrong type.
        ValueError: a task is unknown.
    """

    def __init__(
        self, encoder: Encoder | str | Path, document_task: TaskChoice, query_task: TaskChoice, text_field: TextFields
    ) -> None:
        if not isinstance(text_field, str | Mapping | None):
            raise TypeError(f"text_field is {text_field!r}: a field's name, or a dict from collections to names, was expected")
        self._encoder = LazyEncoder(encoder)
        self._settings = EmbedSettings(document_task, query_task)
        self._text_field = text_field

    def close(self) -> None:
        """Let go of an encoder that was loaded by name."""
        self._encoder.close()

    def embed_rows(self, data: Any, fields: VectorFields) -> Any:
        """Rows of an insert or upsert with vectors where texts stood, and where a vector is missing whose text is there."""
        rows = [data] if isinstance(data, dict) else data
        if not isinstance(rows, list):
            return data
        found = [
            (number, field, text)
            for number, row in enumerate(rows)
            if isinstance(row, dict)
            for field in fields.dense.values()
            if (text := self._row_text(row, field.name, fields.collection)) is not None
        ]
        filled = {number: dict(rows[number]) for number, _, _ in found}
        vectors = self._embed([(text, field) for _, field, text in found], self._settings.task("document"), fields.collection)
        for (number, field, _), vector in zip(found, vectors, strict=True):
            filled[number][field.name] = vector
        return [filled.get(number, row) for number, row in enumerate(rows)]

    def embed_queries(self, data: Any, fields: VectorFields, anns_field: str | None) -> Any:
        """The data of a search with vectors where texts stood; a single text is one query."""
        queries = [data] if isinstance(data, str) else data
        return self._embed_searches([(queries, anns_field)], fields)[0]

    def embed_requests(self, requests: Any, fields: VectorFields) -> Any:
        """The requests of a hybrid search with vectors where texts stood."""
        filled = self._embed_searches([(request.data, request.anns_field) for request in requests], fields)
        return [with_data(request, data) for request, data in zip(requests, filled, strict=True)]

    def _embed_searches(self, searches: Sequence[tuple[Any, str | None]], fields: VectorFields) -> list[Any]:
        """The data of several searches, each of one field, with vectors where texts stood."""
        wanted = [(data, fields.find_searched(name) if has_text(data) else None) for data, name in searches]
        texts = [(query, field) for data, field in wanted if field for query in data if isinstance(query, str)]
        vectors = iter(self._embed(texts, self._settings.task("query"), fields.collection))
        return [
            [next(vectors) if isinstance(query, str) else query for query in data] if field else data for data, field in wanted
        ]

    def _embed(self, texts: Sequence[tuple[str, VectorField]], task: Task | None, collection: str) -> list[Any]:
        """What is stored or searched for each text in its field; each distinct text is encoded once, at the largest dim."""
        if not texts:
            return []
        encoder = self._encoder.get()
        fields = {field.name: field for _, field in texts}
        for field in fields.values():
            if field.dim > encoder.dimensions:
                raise ValueError(
                    f"the field {field.name} of {collection} has dim {field.dim}, but {encoder.model_id} has vectors of "
                    f"{encoder.dimensions}: create the field with dim {encoder.dimensions} or less, or pass another encoder"
                )
        rows = {text: row for row, text in enumerate(dict.fromkeys(text for text, _ in texts))}
        usage = Usage()
        vectors = encoder.encode(list(rows), task=task, dimensions=max(field.dim for field in fields.values()), usage=usage)
        warn_of_truncation(usage, encoder)
        packed = {field.name: field.kind.pack(cut_dimensions(vectors, field.dim)) for field in fields.values()}
        return [packed[field.name][rows[text]] for text, field in texts]

    def _row_text(self, row: Mapping[str, Any], name: str, collection: str) -> str | None:
        text_field = self._text_field.get(collection) if isinstance(self._text_field, Mapping) else self._text_field
        value = row.get(name) if name in row or text_field is None else row.get(text_field)
        return value if isinstance(value, str) else None


def has_text(value: Any, *others: type) -> bool:
    """Whether a value is a text (or one of `others`, which may hold one), a list with such, or a request with such data."""
    if isinstance(value, AnnSearchRequest):
        return has_text(value.data)
    if isinstance(value, list | tuple):
        return any(isinstance(item, (str, *others)) or (isinstance(item, AnnSearchRequest) and has_text(item)) for item in value)
    return isinstance(value, (str, *others))


def with_data(request: AnnSearchRequest, data: Any) -> AnnSearchRequest:
    """The same request for other data; whatever else it has, in whichever pymilvus, stays."""
    if data is request.data:
        return request
    filled = copy(request)
    filled._data = data
    return filled
