"""Milvus's clients with text where vectors go: a passage in the rows that are written, a query in the data that is searched for.

The table of which method takes text where; every signature is that of the installed pymilvus.
"""

from pathlib import Path
from typing import Any

from pymilvus import AsyncMilvusClient, MilvusClient

from taskvec import Encoder
from taskvec.integration import DEFAULT_MODEL
from taskvec_integrations.milvus.embed import RowEmbedder, TextFields, VectorFields
from taskvec_integrations.milvus.intercept import embed_arguments, embed_arguments_async
from taskvec_integrations.milvus.server import Server
from taskvec_integrations.task_choice import TaskChoice


class _MilvusEncoderMixin:
    """The constructor of both clients: all arguments of Milvus's own, whatever its version, and those for the encoder."""

    def __init__(
        self,
        *args: Any,
        encoder: Encoder | str | Path = DEFAULT_MODEL,
        document_task: TaskChoice = "auto",
        query_task: TaskChoice = "auto",
        text_field: TextFields = None,
        **kwargs: Any,
    ) -> None:
        self._embedder = RowEmbedder(encoder, document_task, query_task, text_field)
        self._fields: dict[str, VectorFields] = {}
        self._server: Server | None = None
        super().__init__(*args, **kwargs)


class TaskvecMilvusClient(_MilvusEncoderMixin, MilvusClient):  # type: ignore[misc]
    """MilvusClient that takes a text wherever a dense vector goes: in rows, in `data=`, in an AnnSearchRequest.

    The text is embedded for the operation's task, at the field's dim and in its type. Vectors pass through, and so does text for
    fields that the server fills itself (BM25 and other functions).

        client = TaskvecMilvusClient("index.db", encoder="mini", text_field="text")
        client.insert("docs", [{"id": "1", "text": "Bread rises."}])
        client.search("docs", ["Why does bread rise?"])

    Args:
        encoder: see `Store`.
        document_task: the task of texts in rows, see `TaskChoice`.
        query_task: the task of texts that are searched for.
        text_field: a row without its vector gets the one of the text in this field: a name, or a dict from collections to names.
        *args: those of MilvusClient.
        **kwargs: those of MilvusClient.

    Raises:
        TypeError: `encoder` or `text_field` has the wrong type.
        ValueError: a task is unknown.
    """

    insert = embed_arguments(MilvusClient.insert, RowEmbedder.embed_rows, "data")
    upsert = embed_arguments(MilvusClient.upsert, RowEmbedder.embed_rows, "data")
    search = embed_arguments(MilvusClient.search, RowEmbedder.embed_queries, "data", "anns_field")
    search_iterator = embed_arguments(MilvusClient.search_iterator, RowEmbedder.embed_queries, "data", "anns_field")
    hybrid_search = embed_arguments(
        MilvusClient.hybrid_search, RowEmbedder.embed_requests, "reqs", check=Server.check_hybrid_search
    )

    def close(self) -> None:
        """Close the connection, and let go of an encoder that was loaded by name."""
        super().close()
        self._embedder.close()


class AsyncTaskvecMilvusClient(_MilvusEncoderMixin, AsyncMilvusClient):  # type: ignore[misc]
    """AsyncMilvusClient that takes a text wherever a dense vector goes; arguments as `TaskvecMilvusClient`.

    Texts are embedded in a thread; cancelling a call ends its encoding at the next batch.
    """

    insert = embed_arguments_async(AsyncMilvusClient.insert, RowEmbedder.embed_rows, "data")
    upsert = embed_arguments_async(AsyncMilvusClient.upsert, RowEmbedder.embed_rows, "data")
    search = embed_arguments_async(AsyncMilvusClient.search, RowEmbedder.embed_queries, "data", "anns_field")
    hybrid_search = embed_arguments_async(
        AsyncMilvusClient.hybrid_search, RowEmbedder.embed_requests, "reqs", check=Server.check_hybrid_search
    )

    async def close(self) -> None:
        """Close the connection, and let go of an encoder that was loaded by name."""
        await super().close()
        self._embedder.close()
