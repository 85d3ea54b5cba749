"""Pinecone's indexes with text where vectors go: records are embedded as passages, searches as queries.

Wraps the SDK's Index, AsyncIndex or GrpcIndex; every method and attribute that is not defined here is the SDK's own.
"""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from taskvec.integration import run_in_thread
from taskvec_integrations.pinecone import responses, searches
from taskvec_integrations.pinecone.documents import AsyncTaskvecDocuments, TaskvecDocuments
from taskvec_integrations.pinecone.intercept import IndexWrapper, check_upserted_count, note_written_on_error, upsert_options
from taskvec_integrations.pinecone.limits import DEFAULT_NAMESPACE
from taskvec_integrations.pinecone.searches import JsonObject

if TYPE_CHECKING:
    from pinecone import SearchRecordsResponse, UpsertRecordsResponse

Records = Sequence[Mapping[str, Any]]


class TaskvecIndex(IndexWrapper):
    """An Index whose `upsert_records`, `search` and `documents` take text and embed it here, on any kind of index.

    Args:
        index: The SDK's Index or GrpcIndex.
        encoder: The model; this, `dimensions`, `document_task` and `query_task` mean what they mean in `Store`.
        text_field: The field of a record that is embedded; it is stored, so a search returns it.
        vector_fields: For a document index, {vector field: the field of the text that it is made from}.
        document_field: The field that says which document a record or document is a chunk of. Chunks of one document that are
            next to each other in a call share its context (late chunking).
        dimensions: The dimension of the index.
        document_task: The task of records and documents.
        query_task: The task of searches.

    Raises:
        TypeError: `index` is not an index, or an async one.
        ValueError: There is no such task, or `vector_fields` is given and this SDK has no documents.
    """

    _is_async = False

    def upsert_records(self, *, records: Records, namespace: str, timeout: float | None = None) -> "UpsertRecordsResponse":
        """Embed the texts of records and upsert them, with all their other fields as metadata.

        The records are sent in order, in as few requests as Pinecone's limits allow.

        Args:
            records: Any number of dicts, each with an "_id" and the text.
            namespace: Where; "__default__" is the default namespace.
            timeout: Seconds for each request; None is the SDK's default.

        Raises:
            TypeError, ValueError: A record is one that Pinecone would refuse, or the index has another dimension; nothing was
                sent.
            ApiError: A request failed. A note on the error says which records are written. Upserting all of them again is
                safe, since an upsert replaces.
        """
        self._check_dimension_once()
        count = 0
        for batch in self._embedder.embed_records(records):
            with note_written_on_error(count, batch):
                check_upserted_count(self._index.upsert(vectors=batch, **upsert_options(namespace, timeout)), batch)
            count += len(batch)
        return responses.upsert_response(count)

    def search(
        self,
        *,
        namespace: str,
        top_k: int | None = None,
        inputs: JsonObject | None = None,
        vector: Sequence[float] | JsonObject | None = None,
        id: str | None = None,
        filter: JsonObject | None = None,
        fields: Sequence[str] | None = None,
        rerank: JsonObject | None = None,
        match_terms: JsonObject | None = None,
        query: JsonObject | None = None,
        timeout: float | None = None,
    ) -> "SearchRecordsResponse":
        """Search by a text, which is embedded here, or by a vector or an id.

        Args:
            namespace: Where; "__default__" is the default namespace.
            top_k: The number of hits.
            inputs: {"text": ...}, the text to search by.
            vector: A vector to search by instead.
            id: The id of a record whose vector to search by instead.
            filter: Pinecone's metadata filter.
            fields: The fields of a hit to return; None returns all.
            rerank: Pinecone's rerank settings. It reranks by the text unless they have a "query".
            match_terms: As in the SDK.
            query: top_k, inputs, vector, id, filter and match_terms together, as a mapping or the SDK's SearchQuery.
            timeout: Seconds; None is the SDK's default.

        Raises:
            TypeError: `inputs` is not a text, or `query` came together with one of its parts.
            ValueError: Not exactly one of inputs, vector and id is given, or the index has another dimension.
        """
        read = searches.read_query(
            query, top_k=top_k, inputs=inputs, vector=vector, id=id, filter=filter, match_terms=match_terms
        )
        others = {"namespace": namespace or DEFAULT_NAMESPACE, "fields": fields, "rerank": rerank, "timeout": timeout}
        if (text := searches.query_text(read)) is not None:
            self._check_dimension_once()
            read = searches.with_vector(read, self._embedder.embed_query(text))
            others["rerank"] = searches.with_rerank_query(rerank, text)
        response: SearchRecordsResponse = self._index.search(**(others | read))
        return response

    search_records = search

    @property
    def documents(self) -> Any:
        """The documents of a document index: a TaskvecDocuments where `vector_fields` is given, else the SDK's own."""
        documents = self._index.documents
        return TaskvecDocuments(documents, self._embedder) if self._embedder.vector_fields else documents

    def close(self) -> None:
        """Close the connection, and release an encoder that was loaded by name."""
        self._index.close()
        self._embedder.encoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _check_dimension_once(self) -> None:
        if not self._dimension_checked:
            self._check_dimension(self._index.describe_index_stats())


class AsyncTaskvecIndex(IndexWrapper):
    """An AsyncIndex that takes text: TaskvecIndex for `await`. A thread embeds; cancelling a call ends it at the next batch."""

    _is_async = True

    async def upsert_records(self, *, records: Records, namespace: str, timeout: float | None = None) -> "UpsertRecordsResponse":
        """Embed the texts of records and upsert them, see TaskvecIndex.upsert_records."""
        await self._check_dimension_once()
        count, batches = 0, self._embedder.embed_records(records)
        while batch := await run_in_thread(next, batches, None):
            with note_written_on_error(count, batch):
                check_upserted_count(await self._index.upsert(vectors=batch, **upsert_options(namespace, timeout)), batch)
            count += len(batch)
        return responses.upsert_response(count)

    async def search(
        self,
        *,
        namespace: str,
        top_k: int | None = None,
        inputs: JsonObject | None = None,
        vector: Sequence[float] | JsonObject | None = None,
        id: str | None = None,
        filter: JsonObject | None = None,
        fields: Sequence[str] | None = None,
        rerank: JsonObject | None = None,
        match_terms: JsonObject | None = None,
        query: JsonObject | None = None,
        timeout: float | None = None,
    ) -> "SearchRecordsResponse":
        """Search by a text, a vector or an id, see TaskvecIndex.search."""
        read = searches.read_query(
            query, top_k=top_k, inputs=inputs, vector=vector, id=id, filter=filter, match_terms=match_terms
        )
        others = {"namespace": namespace or DEFAULT_NAMESPACE, "fields": fields, "rerank": rerank, "timeout": timeout}
        if (text := searches.query_text(read)) is not None:
            await self._check_dimension_once()
            read = searches.with_vector(read, await run_in_thread(self._embedder.embed_query, text))
            others["rerank"] = searches.with_rerank_query(rerank, text)
        response: SearchRecordsResponse = await self._index.search(**(others | read))
        return response

    search_records = search

    @property
    def documents(self) -> Any:
        """The documents of a document index, see TaskvecIndex.documents."""
        documents = self._index.documents
        return AsyncTaskvecDocuments(documents, self._embedder) if self._embedder.vector_fields else documents

    async def close(self) -> None:
        """Close the connection, and release an encoder that was loaded by name."""
        await self._index.close()
        self._embedder.encoder.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def _check_dimension_once(self) -> None:
        if not self._dimension_checked:
            stats = await self._index.describe_index_stats()
            await run_in_thread(self._check_dimension, stats)
