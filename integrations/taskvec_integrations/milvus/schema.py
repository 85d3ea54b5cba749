"""Collections for embedded text: the vector type, metric and index that go with a precision, and what a server lacks.

Knows pymilvus's schemas; the clients are the user's, plain or ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pymilvus import AsyncMilvusClient, DataType, MilvusClient

from taskvec.integration import check_whole
from taskvec_integrations.milvus.server import Server
from taskvec_integrations.milvus.vector_types import vector_type

MAX_BYTES = 65_535
"""The longest VARCHAR of Milvus, in bytes."""
ID_BYTES = 512
MAX_DIMENSIONS = 32_768


@dataclass(frozen=True)
class TextCollection:
    """The schema of a collection: a VARCHAR id as primary key, a VARCHAR text, and the vector of the text in one precision.

    The metric is COSINE, or HAMMING for binary. `create` and `acreate` create the collection; for more fields add them to
    `schema()` and `index_params()` and pass both to a client's `create_collection`.

    Args:
        dimensions: of the vectors, 2 to 32768.
        precision: "float32", "float16", "bfloat16", "int8" or "binary".
        vector_field: name of the field of the vector.
        text_field: name of the field of the text.
        id_field: name of the field of the id.
        index: parameters of the index instead of those of the precision, such as {"index_type": "DISKANN"}.
        enable_dynamic_field: whether rows may have more fields than these.
        description: of the collection.

    Raises:
        TypeError: `dimensions` is not a whole number.
        ValueError: `dimensions` is out of range, the precision is unknown, or two fields have the same name.
    """

    dimensions: int
    precision: str = "float32"
    vector_field: str = "vector"
    text_field: str = "text"
    id_field: str = "id"
    index: Mapping[str, Any] | None = None
    enable_dynamic_field: bool = True
    description: str = ""

    def __post_init__(self) -> None:
        check_whole("dimensions", self.dimensions)
        if not 2 <= self.dimensions <= MAX_DIMENSIONS:
            raise ValueError(f"dimensions is {self.dimensions}: Milvus has vectors of 2 to {MAX_DIMENSIONS}")
        vector_type(self.precision).check_dimensions(self.dimensions)
        if len({self.id_field, self.text_field, self.vector_field}) < 3:
            names = f"id_field {self.id_field!r}, text_field {self.text_field!r} and vector_field {self.vector_field!r}"
            raise ValueError(f"two fields have the same name: {names} need different names")

    def create(
        self,
        client: MilvusClient,
        collection_name: str,
        *,
        consistency_level: str = "Bounded",
        properties: Mapping[str, Any] | None = None,
    ) -> None:
        """Create the collection and load it.

        Args:
            client: of the server.
            collection_name: its name.
            consistency_level: of searches that do not name another one; with "Strong" a search sees what was inserted just
                before it.
            properties: of the collection.

        Raises:
            ValueError: the server lacks the vector type; nothing was sent.
        """
        self.check(Server.parse(client.get_server_version()))
        client.create_collection(collection_name, **self._options(consistency_level, properties))

    async def acreate(
        self,
        client: AsyncMilvusClient,
        collection_name: str,
        *,
        consistency_level: str = "Bounded",
        properties: Mapping[str, Any] | None = None,
    ) -> None:
        """`create` with an async client.

        Raises:
            NotImplementedError: the server is milvus-lite, which creates collections for a MilvusClient only.
            ValueError: the server lacks the vector type. Either way nothing was sent.
        """
        server = Server.parse(await client.get_server_version())
        self.check(server)
        server.check_async_create()
        await client.create_collection(collection_name, **self._options(consistency_level, properties))

    def check(self, server: Server) -> None:
        """Raise ValueError where a server lacks the vector type; the message names both, and what works instead."""
        server.check_type(vector_type(self.precision))

    def schema(self) -> Any:
        """The CollectionSchema, to which fields can be added."""
        schema = MilvusClient.create_schema(enable_dynamic_field=self.enable_dynamic_field, description=self.description)
        schema.add_field(self.id_field, DataType.VARCHAR, is_primary=True, max_length=ID_BYTES)
        schema.add_field(self.text_field, DataType.VARCHAR, max_length=MAX_BYTES)
        schema.add_field(self.vector_field, vector_type(self.precision).data_type, dim=self.dimensions)
        return schema

    def index_params(self) -> Any:
        """The IndexParams of the vector field, to which those of other fields can be added."""
        kind = vector_type(self.precision)
        indexes = MilvusClient.prepare_index_params()
        indexes.add_index(self.vector_field, **{"metric_type": kind.metric, **(kind.index if self.index is None else self.index)})
        return indexes

    def _options(self, consistency_level: str, properties: Mapping[str, Any] | None) -> dict[str, Any]:
        return {
            "schema": self.schema(),
            "index_params": self.index_params(),
            "consistency_level": consistency_level,
            **({"properties": dict(properties)} if properties else {}),
        }
