"""Native in Milvus: an embedding function for pymilvus, clients that take text where vectors go, collections to hold them."""

from taskvec_integrations.extras import require_extra

require_extra("milvus")

from taskvec_integrations.milvus.client import AsyncTaskvecMilvusClient, TaskvecMilvusClient  # noqa: E402
from taskvec_integrations.milvus.function import TaskvecEmbeddingFunction  # noqa: E402
from taskvec_integrations.milvus.schema import TextCollection  # noqa: E402
from taskvec_integrations.milvus.store import MilvusStore  # noqa: E402

__all__ = ["AsyncTaskvecMilvusClient", "MilvusStore", "TaskvecEmbeddingFunction", "TaskvecMilvusClient", "TextCollection"]
