"""Embedders for Haystack pipelines: TaskvecTextEmbedder for questions, TaskvecDocumentEmbedder for documents and their chunks."""

from taskvec_integrations.extras import require

require("haystack", "haystack")

from haystack_integrations.components.embedders.taskvec.document_embedder import TaskvecDocumentEmbedder  # noqa: E402
from haystack_integrations.components.embedders.taskvec.text_embedder import TaskvecTextEmbedder  # noqa: E402

__all__ = ["TaskvecDocumentEmbedder", "TaskvecTextEmbedder"]
