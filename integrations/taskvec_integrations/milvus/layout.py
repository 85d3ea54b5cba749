"""Which fields of a collection a store uses: the key, the vector, the store's own, and dynamic ones for the user's payload."""

from collections.abc import Mapping
from typing import Any

from pymilvus import DataType

from taskvec_integrations.ingestion.backend import HASH_FIELD, Point
from taskvec_integrations.milvus.schema import MAX_BYTES, TextCollection
from taskvec_integrations.milvus.server import Server
from taskvec_integrations.milvus.vector_types import DENSE_TYPES, VECTOR_TYPES, vector_type

COSINE = "COSINE"
DYNAMIC = "$meta"
"""How Milvus calls all dynamic fields together."""
HASH_BYTES = 128


class Layout:
    """The fields of one collection; `precision` of one that is made here, others are taken as they are (`adopt`)."""

    def __init__(self, precision: str, id_field: str, vector_field: str) -> None:
        self.kind = vector_type(precision)
        if self.kind.metric != COSINE:
            others = ", ".join(kind.precision for kind in VECTOR_TYPES.values() if kind.metric == COSINE)
            raise ValueError(f"precision is {precision!r}, whose vectors have no cosine: a store keeps {others}")
        self.id_field = id_field
        self.vector_field = vector_field
        self.shown = ["document_id", "chunk", "text", HASH_FIELD, DYNAMIC]
        """The fields of a hit."""

    def make(self, dimensions: int, server: Server) -> tuple[Any, Any]:
        """(schema, index parameters) of a new collection; ValueError where the server lacks the precision."""
        plan = TextCollection(dimensions, self.kind.precision, vector_field=self.vector_field, id_field=self.id_field)
        plan.check(server)
        schema, indexes = plan.schema(), plan.index_params()
        schema.add_field("document_id", DataType.VARCHAR, max_length=MAX_BYTES)
        schema.add_field("chunk", DataType.INT64)
        schema.add_field(HASH_FIELD, DataType.VARCHAR, max_length=HASH_BYTES)
        if server.has_inverted_index:
            indexes.add_index("document_id", index_type="INVERTED")
        return schema, indexes

    def adopt(self, name: str, told: Mapping[str, Any]) -> int:
        """Take over what `describe_collection` told, and say its dimensions; ValueError where a store cannot use it."""
        fields = {field["name"]: field for field in told["fields"]}
        vectors = {field: told["type"] for field, told in fields.items() if told["type"].name.endswith("VECTOR")}
        (key,) = (field for field in told["fields"] if field.get("is_primary"))
        if key["name"] != self.id_field or key["type"] != DataType.VARCHAR or key.get("auto_id"):
            type_name = f"{key['type'].name}{', auto_id' if key.get('auto_id') else ''}"
            raise ValueError(
                f"collection {name!r} has the primary key {key['name']} ({type_name}); this store needs a VARCHAR "
                f"{self.id_field}, not auto_id: make it so, or name another with id_field"
            )
        kind = DENSE_TYPES.get(vectors.get(self.vector_field))
        if kind is None or kind.metric != COSINE:
            has = ", ".join(f"{field} ({type.name})" for field, type in vectors.items())
            raise ValueError(
                f"collection {name!r} has the vectors {has}; this store needs floats or int8 in {self.vector_field}: name "
                "another with vector_field"
            )
        if not told["enable_dynamic_field"]:
            raise ValueError(f"collection {name!r} has no dynamic fields for payloads: make it with enable_dynamic_field=True")
        self.kind = kind
        self.shown = [field for field in fields if field not in vectors and field != self.id_field] + [DYNAMIC]
        return int(fields[self.vector_field]["params"]["dim"])

    def row(self, point: Point, vector: Any) -> dict[str, Any]:
        """A point as pymilvus takes it; ValueError where its payload has a key that is taken."""
        if taken := {self.id_field, self.vector_field, DYNAMIC} & point.payload.keys():
            raise ValueError(f"its payload has the key {min(taken)!r}, which is a field of the collection: rename it")
        return {**point.fields(), self.id_field: point.id, self.vector_field: vector}
