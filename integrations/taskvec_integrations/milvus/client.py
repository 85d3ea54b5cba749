"""Milvus's clients with text where vectors go: a passage in the rows that are written, a query in the data that is searched for.

The table of which method takes text where; every signature is that of the installed pymilvus.
"""

from pathlib import Path
from typing import Any

from pymilvus import AsyncMilvusClient, MilvusClient

from taskvec import Encoder
from taskvec.integration import DEFAULT_MODEL
from taskvec_integrations.milvus.embed import Fields, TextFields, Texts
from taskvec_integrations.milvus.intercept import embedding, embedding_async
from taskvec_integrations.milvus.server import Server
from taskvec_integrations.task_choice import TaskChoice


class _WithEncoder:
    """The constructor of both clients: everything Milvus's own takes, whatever its version, and what concerns the encoder."""

    def __init__(
        self,
        *args: Any,
        encoder: Encoder | str | Path = DEFAULT_MODEL,
        document_task: TaskChoice = "auto",
        query_task: TaskChoice = "auto",
        text_field: TextFields = None,
        **kwargs: Any,
    ) -> None:
        self._texts = Texts(encoder, document_task, query_task, text_field)
        self._fields: dict[str, Fields] = {}
        self._server: Server | None = None
        super().__init__(*args, **kwargs)


class TaskvecMilvusClient(_WithEncoder, MilvusClient):  # type: ignore[misc]
    """MilvusClient that takes a text wherever a dense vector goes: in rows, in `data=`, in an AnnSearchRequest.

    The text is embedded for the operation's task, at the field's own dim and in its own type. Vectors pass through, and so does
    text for fields that the server fills itself (BM25 and other functions).

    encoder: an Encoder, or a model's name, which is loaded when it is first needed. document_task, query_task: another task than
    retrieval.passage and retrieval.query, None for the bare model. text_field: a row without its vector gets the one of the text
    in this field; a name, or a dict from collections to names.
    """

    insert = embedding(MilvusClient.insert, Texts.rows, "data")
    upsert = embedding(MilvusClient.upsert, Texts.rows, "data")
    search = embedding(MilvusClient.search, Texts.queries, "data", "anns_field")
    search_iterator = embedding(MilvusClient.search_iterator, Texts.queries, "data", "anns_field")
    hybrid_search = embedding(MilvusClient.hybrid_search, Texts.requests, "reqs", needs=Server.check_hybrid_search)

    def close(self) -> None:
        """Close the connection, and let go of an encoder that was loaded by name."""
        super().close()
        self._texts.close()


class AsyncTaskvecMilvusClient(_WithEncoder, AsyncMilvusClient):  # type: ignore[misc]
    """AsyncMilvusClient that takes a text wherever a dense vector goes, see TaskvecMilvusClient.

    Texts are embedded in a thread; cancelling a call ends its encoding at the next batch.
    """

    insert = embedding_async(AsyncMilvusClient.insert, Texts.rows, "data")
    upsert = embedding_async(AsyncMilvusClient.upsert, Texts.rows, "data")
    search = embedding_async(AsyncMilvusClient.search, Texts.queries, "data", "anns_field")
    hybrid_search = embedding_async(AsyncMilvusClient.hybrid_search, Texts.requests, "reqs", needs=Server.check_hybrid_search)

    async def close(self) -> None:
        """Close the connection, and let go of an encoder that was loaded by name."""
        await super().close()
        self._texts.close()
