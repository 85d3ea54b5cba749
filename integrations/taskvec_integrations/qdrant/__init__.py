"""Qdrant: a store with ingestion and search."""

from taskvec_integrations.extras import require

require("qdrant_client", "qdrant")

from taskvec_integrations.qdrant.store import QdrantStore  # noqa: E402

__all__ = ["QdrantStore"]
