"""Native in LlamaIndex: an embedding model with the right task for texts and queries, and late chunking as a transformation."""

from taskvec_integrations.extras import require_extra

require_extra("llama-index")

from taskvec_integrations.llama_index.embedding import TaskvecEmbedding  # noqa: E402

__all__ = ["TaskvecEmbedding"]
