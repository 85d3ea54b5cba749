"""Objects whose attributes are made in their constructors, for record.py: the class does not show them."""

from collections.abc import Callable, Mapping
from typing import Any

from qdrant_client import QdrantClient

from taskvec import Encoder
from taskvec_integrations.milvus import TaskvecEmbeddingFunction
from taskvec_integrations.qdrant import QdrantStore

INSTANCES: Mapping[str, Callable[[], Any]] = {
    "Encoder": lambda: Encoder.from_pretrained("mini", device="cpu"),
    "QdrantStore": lambda: QdrantStore(QdrantClient(":memory:"), "docs", encoder="mini"),
    "TaskvecEmbeddingFunction": lambda: TaskvecEmbeddingFunction("mini", dimensions=8),
}
