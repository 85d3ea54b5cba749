"""`taskvec serve`: one HTTP server for the clients of Jina, OpenAI, Text Embeddings Inference, Pinecone and SageMaker."""

from taskvec_integrations.extras import require_extra

require_extra("server")

from taskvec_integrations.server.app import create_app  # noqa: E402
from taskvec_integrations.server.settings import ServerSettings  # noqa: E402

__all__ = ["ServerSettings", "create_app"]
