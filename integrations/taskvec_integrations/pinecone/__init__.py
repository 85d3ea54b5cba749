"""Native in Pinecone: an embedder with the contract of `pc.inference`, indexes that take text, a store with ingestion."""

from taskvec_integrations.extras import require_extra

require_extra("pinecone")

from taskvec_integrations.pinecone.index import AsyncTaskvecIndex, TaskvecIndex  # noqa: E402
from taskvec_integrations.pinecone.inference import AsyncTaskvecInference, TaskvecInference  # noqa: E402
from taskvec_integrations.pinecone.store import PineconeStore  # noqa: E402

__all__ = ["AsyncTaskvecIndex", "AsyncTaskvecInference", "PineconeStore", "TaskvecIndex", "TaskvecInference"]
