"""Which fields of a collection a store uses: the key, the vector, the store's own, and dynamic ones for the user's payload."""

from collections.abc import Mapping
from typing import Any

from pymilvus import DataType

from taskvec_integrations.ingestion.points import HASH_FIELD, Point
from taskvec_integrations.milvus.schema import MAX_BYTES, TextCollection
from taskvec_integrations.milvus.server import Server
from taskvec_integrations.milvus.vector_types import DENSE_TYPES, VECTOR_TYPES, vector_type

COSINE = "COSINE"
DYNAMIC_FIELDS = "$meta"
"""Milvus's name for all dynamic fields together."""
HASH_BYTES = 128


class CollectionFields:
    """The fields of one collection.

    Args:
        precision: of a collection that is created here; one that exists is taken as it is (`adopt`).
        id_field: name of the field of the id.
        vector_field: name of the field of the vector.

    Raises:
        ValueError: the precision is unknown, or its vectors have no cosine.
    """

    def __init__(self, precision: str, id_field: str, vector_field: str) -> None:
        self.kind = vector_type(precision)
        if self.kind.metric != COSINE:
            others = ", ".join(kind.precision for kind in VECTOR_TYPES.values() if kind.metric == COSINE)
            raise ValueError(f"precision is {precision!r}, whose vectors have no cosine: use {others}")
        self.id_field = id_field
        self.vector_field = vector_field
        self.output_fields = ["document_id", "chunk", "text", HASH_FIELD, DYNAMIC_FIELDS]
        """What a search returns with each hit."""

    def new_schema(self, dimensions: int, server: Server) -> tuple[Any, Any]:
        """(schema, index parameters) of a new collection; ValueError where the server lacks the precision."""
        texts = TextCollection(dimensions, self.kind.precision, vector_field=self.vector_field, id_field=self.id_field)
        texts.check(server)
        schema, indexes = texts.schema(), texts.index_params()
        schema.add_field("document_id", DataType.VARCHAR, max_length=MAX_BYTES)
        schema.add_field("chunk", DataType.INT64)
        schema.add_field(HASH_FIELD, DataType.VARCHAR, max_length=HASH_BYTES)
        if server.has_inverted_index:
            indexes.add_index("document_id", index_type="INVERTED")
        return schema, indexes

    def adopt(self, name: str, description: Mapping[str, Any]) -> int:
        """Take over the fields of a collection that exists.

        Args:
            name: of the collection.
            description: what `describe_collection` returned.

        Returns:
            The dimensions of its vectors.

        Raises:
            ValueError: a store cannot use its key, its vectors or its lack of dynamic fields.
        """
        fields = {field["name"]: field for field in description["fields"]}
        vectors = {key: field["type"] for key, field in fields.items() if field["type"].name.endswith("VECTOR")}
        (primary,) = (field for field in description["fields"] if field.get("is_primary"))
        if primary["name"] != self.id_field or primary["type"] != DataType.VARCHAR or primary.get("auto_id"):
            type_name = f"{primary['type'].name}{', auto_id' if primary.get('auto_id') else ''}"
            raise ValueError(
                f"collection {name!r} has the primary key {primary['name']} ({type_name}), and this store needs a VARCHAR "
                f"{self.id_field} without auto_id: create it so, or name another field with id_field"
            )
        kind = DENSE_TYPES.get(vectors.get(self.vector_field))
        if kind is None or kind.metric != COSINE:
            existing = ", ".join(f"{field} ({type.name})" for field, type in vectors.items())
            raise ValueError(
                f"collection {name!r} has the vectors {existing}, and this store needs floats or int8 in {self.vector_field}: "
                "name another field with vector_field"
            )
        if not description["enable_dynamic_field"]:
            raise ValueError(f"collection {name!r} has no dynamic fields for payloads: create it with enable_dynamic_field=True")
        self.kind = kind
        self.output_fields = [field for field in fields if field not in vectors and field != self.id_field] + [DYNAMIC_FIELDS]
        return int(fields[self.vector_field]["params"]["dim"])

    def to_row(self, point: Point, vector: Any) -> dict[str, Any]:
        """A point as pymilvus takes it; ValueError where its payload has the name of a field as a key."""
        if taken := {self.id_field, self.vector_field, DYNAMIC_FIELDS} & point.payload.keys():
            raise ValueError(f"its payload has the key {min(taken)!r}, which is a field of the collection: rename it")
        return {**point.fields(), self.id_field: point.id, self.vector_field: vector}
