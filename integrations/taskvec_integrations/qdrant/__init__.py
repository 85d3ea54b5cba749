"""Native in Qdrant: clients that resolve Documents of our models, and good defaults for Matryoshka search."""

from taskvec_integrations.extras import require

require("qdrant_client", "qdrant")

from taskvec_integrations.qdrant.client import AsyncTaskvecQdrantClient, TaskvecQdrantClient  # noqa: E402
from taskvec_integrations.qdrant.two_stage import TwoStageSearch  # noqa: E402

__all__ = ["AsyncTaskvecQdrantClient", "TaskvecQdrantClient", "TwoStageSearch"]
