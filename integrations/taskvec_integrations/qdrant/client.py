"""Qdrant's clients with our encoder behind `models.Document`: passages where points are written, queries where they are read.

The table of which method takes Documents where; every signature is that of the installed qdrant-client.
"""

from pathlib import Path
from typing import Any

from qdrant_client import AsyncQdrantClient, QdrantClient

from taskvec import Encoder
from taskvec.integration import DEFAULT_MODEL
from taskvec_integrations.qdrant.check_datatypes import check_datatypes_first, check_datatypes_first_async
from taskvec_integrations.qdrant.embed import DocumentEmbedder
from taskvec_integrations.qdrant.intercept import embed_arguments, embed_arguments_async, embed_upload, embed_upload_async
from taskvec_integrations.task_choice import TaskChoice


class _QdrantEncoderMixin:
    """The constructor of both clients: all arguments of Qdrant's own, whatever its version, and those for the encoder."""

    def __init__(
        self,
        *args: Any,
        encoder: Encoder | str | Path = DEFAULT_MODEL,
        document_task: TaskChoice = "auto",
        query_task: TaskChoice = "auto",
        **kwargs: Any,
    ) -> None:
        self._embedder = DocumentEmbedder(encoder, document_task, query_task)
        super().__init__(*args, **kwargs)

    def _close_embedder(self) -> None:
        if hasattr(self, "_embedder"):  # Qdrant's __del__ calls close, even where this constructor failed
            self._embedder.close()


class TaskvecQdrantClient(_QdrantEncoderMixin, QdrantClient):
    """QdrantClient that embeds `models.Document` of our models itself, without fastembed, and is a QdrantClient otherwise.

    `Document.options` may hold task, dimensions, late_chunking, document_id, spans and chunk_tokens (see `DocumentOptions`).
    Documents of other models pass through.

        client = TaskvecQdrantClient("http://localhost:6333", encoder="mini")
        client.upsert("docs", [PointStruct(id=1, vector=Document(text="Bread rises.", model="mini"))])
        client.query_points("docs", Document(text="Why does bread rise?", model="mini"))

    Args:
        encoder: see `Store`. It answers to the names of jina-embeddings-v3 and to its own name; "mini" is always the bundled
            model.
        document_task: the task of Documents in points, see `TaskChoice`.
        query_task: the task of Documents in queries.
        *args: those of QdrantClient.
        **kwargs: those of QdrantClient.

    Raises:
        TypeError: `encoder` is neither an Encoder nor a name.
        ValueError: a task is unknown.
    """

    upsert = embed_arguments(QdrantClient.upsert, "document", "points")
    update_vectors = embed_arguments(QdrantClient.update_vectors, "document", "points")
    batch_update_points = embed_arguments(QdrantClient.batch_update_points, "document", "update_operations")
    upload_points = embed_upload(QdrantClient.upload_points, "points")
    upload_collection = embed_upload(QdrantClient.upload_collection, "vectors")
    query_points = embed_arguments(QdrantClient.query_points, "query", "query", "prefetch")
    query_points_groups = embed_arguments(QdrantClient.query_points_groups, "query", "query", "prefetch")
    query_batch_points = embed_arguments(QdrantClient.query_batch_points, "query", "requests")
    create_collection = check_datatypes_first(QdrantClient.create_collection)
    recreate_collection = check_datatypes_first(QdrantClient.recreate_collection)

    def close(self, grpc_grace: float | None = None, **kwargs: Any) -> None:
        """Close the connection, and let go of an encoder that was loaded by name."""
        super().close(grpc_grace, **kwargs)
        self._close_embedder()


class AsyncTaskvecQdrantClient(_QdrantEncoderMixin, AsyncQdrantClient):
    """AsyncQdrantClient that embeds `models.Document` of our models itself, in a thread; arguments as `TaskvecQdrantClient`.

    Cancelling a call ends its encoding at the next batch. `upload_points` and `upload_collection` block as they do in
    Qdrant's async client, so await `aupload_points` and `aupload_collection`, which take the same arguments.
    """

    upsert = embed_arguments_async(AsyncQdrantClient.upsert, "document", "points")
    update_vectors = embed_arguments_async(AsyncQdrantClient.update_vectors, "document", "points")
    batch_update_points = embed_arguments_async(AsyncQdrantClient.batch_update_points, "document", "update_operations")
    upload_points = embed_upload(AsyncQdrantClient.upload_points, "points")
    upload_collection = embed_upload(AsyncQdrantClient.upload_collection, "vectors")
    aupload_points = embed_upload_async(AsyncQdrantClient.upload_points, "points")
    aupload_collection = embed_upload_async(AsyncQdrantClient.upload_collection, "vectors")
    query_points = embed_arguments_async(AsyncQdrantClient.query_points, "query", "query", "prefetch")
    query_points_groups = embed_arguments_async(AsyncQdrantClient.query_points_groups, "query", "query", "prefetch")
    query_batch_points = embed_arguments_async(AsyncQdrantClient.query_batch_points, "query", "requests")
    create_collection = check_datatypes_first_async(AsyncQdrantClient.create_collection)
    recreate_collection = check_datatypes_first_async(AsyncQdrantClient.recreate_collection)

    async def close(self, grpc_grace: float | None = None, **kwargs: Any) -> None:
        """Close the connection, and let go of an encoder that was loaded by name."""
        await super().close(grpc_grace, **kwargs)
        self._close_embedder()
