"""Qdrant: a store with ingestion and search."""

from taskvec_integrations.extras import require

for module in ("qdrant_client", "semchunk", "tenacity"):
    require(module, "qdrant")

from taskvec_integrations.qdrant.store import QdrantStore  # noqa: E402

__all__ = ["QdrantStore"]
