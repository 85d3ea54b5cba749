"""From one machine to a cluster: classes for Ray Data's map_batches that embed, and whole datasets ingested into a store."""

from taskvec_integrations.extras import require_extra

require_extra("ray")

from taskvec_integrations.ray.chunks import EmbedChunks, gather_chunks  # noqa: E402
from taskvec_integrations.ray.embed import EmbedDocuments, EmbedQueries  # noqa: E402
from taskvec_integrations.ray.ingest import ingest_dataset  # noqa: E402

__all__ = ["EmbedChunks", "EmbedDocuments", "EmbedQueries", "gather_chunks", "ingest_dataset"]
