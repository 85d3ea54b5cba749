"""Qdrant's clients with our encoder behind `models.Document`: passages where points are written, queries where they are read.

The table of which method takes Documents where; every signature is that of the installed qdrant-client.
"""

from pathlib import Path
from typing import Any

from qdrant_client import AsyncQdrantClient, QdrantClient

from taskvec import Encoder
from taskvec.integration import DEFAULT_MODEL
from taskvec_integrations.qdrant.datatypes import refusing, refusing_async
from taskvec_integrations.qdrant.embed import Resolver
from taskvec_integrations.qdrant.intercept import resolving, resolving_async, streaming, streaming_async
from taskvec_integrations.task_choice import TaskChoice


class _WithEncoder:
    """The constructor of both clients: everything Qdrant's own takes, whatever its version, and what concerns the encoder."""

    def __init__(
        self,
        *args: Any,
        encoder: Encoder | str | Path = DEFAULT_MODEL,
        document_task: TaskChoice = "auto",
        query_task: TaskChoice = "auto",
        **kwargs: Any,
    ) -> None:
        self._resolver = Resolver(encoder, document_task, query_task)
        super().__init__(*args, **kwargs)

    def _close_resolver(self) -> None:
        if hasattr(self, "_resolver"):  # Qdrant's __del__ closes, even what was never made
            self._resolver.close()


class TaskvecQdrantClient(_WithEncoder, QdrantClient):
    """QdrantClient that resolves `models.Document` of our models itself, without fastembed; it does everything else as before.

    encoder: an Encoder, or a model's name, which is loaded when it is first needed. It answers to the names of
    jina-embeddings-v3 and to its own; "mini" always means the bundled model, and Documents of other models pass through.
    document_task, query_task: another task than retrieval.passage and retrieval.query, None for the bare model.

    `Document.options` may hold task, dimensions, late_chunking, document_id, spans and chunk_tokens (see DocumentOptions).
    """

    upsert = resolving(QdrantClient.upsert, "document", "points")
    update_vectors = resolving(QdrantClient.update_vectors, "document", "points")
    batch_update_points = resolving(QdrantClient.batch_update_points, "document", "update_operations")
    upload_points = streaming(QdrantClient.upload_points, "points")
    upload_collection = streaming(QdrantClient.upload_collection, "vectors")
    query_points = resolving(QdrantClient.query_points, "query", "query", "prefetch")
    query_points_groups = resolving(QdrantClient.query_points_groups, "query", "query", "prefetch")
    query_batch_points = resolving(QdrantClient.query_batch_points, "query", "requests")
    create_collection = refusing(QdrantClient.create_collection)
    recreate_collection = refusing(QdrantClient.recreate_collection)

    def close(self, grpc_grace: float | None = None, **kwargs: Any) -> None:
        """Close the connection, and let go of an encoder that was loaded by name."""
        super().close(grpc_grace, **kwargs)
        self._close_resolver()


class AsyncTaskvecQdrantClient(_WithEncoder, AsyncQdrantClient):
    """AsyncQdrantClient that resolves `models.Document` of our models itself, in a thread; see TaskvecQdrantClient.

    Cancelling a call ends its encoding at the next batch. `upload_points` and `upload_collection` block as they do in
    Qdrant's async client, so await `aupload_points` and `aupload_collection`, which take the same arguments.
    """

    upsert = resolving_async(AsyncQdrantClient.upsert, "document", "points")
    update_vectors = resolving_async(AsyncQdrantClient.update_vectors, "document", "points")
    batch_update_points = resolving_async(AsyncQdrantClient.batch_update_points, "document", "update_operations")
    upload_points = streaming(AsyncQdrantClient.upload_points, "points")
    upload_collection = streaming(AsyncQdrantClient.upload_collection, "vectors")
    aupload_points = streaming_async(AsyncQdrantClient.upload_points, "points")
    aupload_collection = streaming_async(AsyncQdrantClient.upload_collection, "vectors")
    query_points = resolving_async(AsyncQdrantClient.query_points, "query", "query", "prefetch")
    query_points_groups = resolving_async(AsyncQdrantClient.query_points_groups, "query", "query", "prefetch")
    query_batch_points = resolving_async(AsyncQdrantClient.query_batch_points, "query", "requests")
    create_collection = refusing_async(AsyncQdrantClient.create_collection)
    recreate_collection = refusing_async(AsyncQdrantClient.recreate_collection)

    async def close(self, grpc_grace: float | None = None, **kwargs: Any) -> None:
        """Close the connection, and let go of an encoder that was loaded by name."""
        await super().close(grpc_grace, **kwargs)
        self._close_resolver()
