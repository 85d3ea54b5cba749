"""How each precision is stored in Milvus: as which vector type, compared by which metric, indexed how, in which servers.

Knows the types of pymilvus, no encoder and no connection.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pymilvus import DataType

from taskvec import quantize
from taskvec.integration import Vectors, scaled_int8
from taskvec_integrations.extras import require

AUTOINDEX = {"index_type": "AUTOINDEX"}
# The parameters that Milvus gives a float vector under AUTOINDEX, which old servers do not know for the other types.
HNSW = {"index_type": "HNSW", "params": {"M": 18, "efConstruction": 240}}
# Exact: BIN_IVF_FLAT reads the 8 nearest of its lists by default, and bits are quick to compare.
BIN_FLAT = {"index_type": "BIN_FLAT"}


@dataclass(frozen=True)
class VectorType:
    """How vectors of one precision are stored.

    Args:
        precision: our name for it.
        name: of pymilvus's DataType.
        metric: that compares the vectors.
        server: version of the first Milvus that stores and searches it.
        in_lite: whether milvus-lite does.
        index: parameters of its index.
        pack: (n, dimensions) float32 vectors to the n values that pymilvus takes in rows and in searches.
    """

    precision: str
    name: str
    metric: str
    server: tuple[int, ...]
    in_lite: bool
    index: dict[str, Any] = field(hash=False)
    pack: Callable[[Vectors], Sequence[Any]]

    @property
    def data_type(self) -> DataType:
        """pymilvus's DataType."""
        return DataType[self.name]

    def check_dimensions(self, dimensions: int) -> None:
        """Raise ValueError for a number of dimensions that this type cannot hold."""
        if self.precision == "binary" and dimensions % 8:
            raise ValueError(f"dimensions is {dimensions}: binary packs 8 dimensions into a byte, so use a multiple of 8")


def _bfloat16(vectors: Vectors) -> Sequence[Any]:
    # pymilvus knows these vectors by the name of their dtype, which numpy itself does not have.
    return list(vectors.astype(require("ml_dtypes", "milvus").bfloat16))


def _binary(vectors: Vectors) -> Sequence[Any]:
    return [row.tobytes() for row in np.asarray(quantize(vectors, "ubinary"))]


_TYPES = (
    VectorType("float32", "FLOAT_VECTOR", "COSINE", (2, 0), True, AUTOINDEX, list),
    VectorType("float16", "FLOAT16_VECTOR", "COSINE", (2, 4), False, HNSW, lambda vectors: list(vectors.astype(np.float16))),
    VectorType("bfloat16", "BFLOAT16_VECTOR", "COSINE", (2, 4), False, HNSW, _bfloat16),
    VectorType("int8", "INT8_VECTOR", "COSINE", (2, 6), False, HNSW, lambda vectors: list(scaled_int8(vectors))),
    VectorType("binary", "BINARY_VECTOR", "HAMMING", (2, 0), False, BIN_FLAT, _binary),
)
VECTOR_TYPES = {kind.precision: kind for kind in _TYPES}
"""By precision."""
DENSE_TYPES = {kind.data_type: kind for kind in _TYPES}
"""By pymilvus's DataType; sparse types are not among them."""


def vector_type(precision: str) -> VectorType:
    """The vector type of a precision; ValueError for an unknown one, with all that there are."""
    if precision not in VECTOR_TYPES:
        raise ValueError(f"unknown precision {precision!r}: Milvus stores {', '.join(VECTOR_TYPES)}")
    return VECTOR_TYPES[precision]
