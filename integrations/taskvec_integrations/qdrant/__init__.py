"""Native in Qdrant: clients that embed Documents of our models, good defaults for Matryoshka search, a store with ingestion."""

from taskvec_integrations.extras import require

for module in ("qdrant_client", "semchunk", "tenacity"):
    require(module, "qdrant")

from taskvec_integrations.qdrant.client import AsyncTaskvecQdrantClient, TaskvecQdrantClient  # noqa: E402
from taskvec_integrations.qdrant.store import QdrantStore  # noqa: E402
from taskvec_integrations.qdrant.two_stage import TwoStageSearch  # noqa: E402

__all__ = ["AsyncTaskvecQdrantClient", "QdrantStore", "TaskvecQdrantClient", "TwoStageSearch"]
