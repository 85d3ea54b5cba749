"""Pinecone's indexes with text where vectors go: a passage in the records that are written, a query in what is searched for.

Composition around the SDK's Index, AsyncIndex or GrpcIndex, whose every other method and attribute is reached through these.
"""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from taskvec.integration import run_in_thread
from taskvec_integrations.pinecone import responses, sdk, searches
from taskvec_integrations.pinecone.documents import AsyncTaskvecDocuments, TaskvecDocuments
from taskvec_integrations.pinecone.intercept import DEFAULT_NAMESPACE, WithEncoder, check_count, classic, telling

if TYPE_CHECKING:
    from pinecone import SearchRecordsResponse, UpsertRecordsResponse

Records = Sequence[Mapping[str, Any]]
Object = Mapping[str, Any]


class TaskvecIndex(WithEncoder):
    """An Index whose `upsert_records`, `search` and `documents` take text and embed it here, whatever kind of index it is.

    index: an Index or GrpcIndex of SDK 7 to 10. encoder: an Encoder, or a model's name, which is loaded when it is first needed.
    text_field: the field of a record that is embedded; it is stored, so a search returns it. vector_fields: of a document index,
    {vector field: the field of the text it is made of}. document_field: the field that says which document a record or document
    is a chunk of: those of one that are next to each other in a call share its context (late chunking). dimensions: None is the
    model's full width. document_task, query_task: another task than retrieval.passage and retrieval.query, None for the bare
    model.
    """

    _async = False

    def upsert_records(self, *, records: Records, namespace: str, timeout: float | None = None) -> "UpsertRecordsResponse":
        """Embed the texts of records and upsert them with all their other fields as metadata; any number of records.

        They are sent in order in as few requests as Pinecone's limits allow. Bad records are errors before anything is sent. If
        a request fails, the SDK's error says which records are written: upserting all again is safe, as an upsert replaces.
        """
        self._check_fits_once()
        count = 0
        for batch in self._texts.upserts(records):
            with telling(count, batch):
                check_count(self._index.upsert(vectors=batch, **classic(namespace, timeout)), batch)
            count += len(batch)
        return responses.upserted(count)

    def search(
        self,
        *,
        namespace: str,
        top_k: int | None = None,
        inputs: Object | None = None,
        vector: Sequence[float] | Object | None = None,
        id: str | None = None,
        filter: Object | None = None,
        fields: Sequence[str] | None = None,
        rerank: Object | None = None,
        match_terms: Object | None = None,
        query: Object | None = None,
        timeout: float | None = None,
    ) -> "SearchRecordsResponse":
        """Search by a text, `inputs={"text": ...}`, which is embedded here, or by a vector or an id; all else as in the SDK.

        Pinecone reranks by the text unless `rerank` has a "query" of its own.
        """
        asked = searches.read(query, top_k=top_k, inputs=inputs, vector=vector, id=id, filter=filter, match_terms=match_terms)
        others = {"namespace": namespace or DEFAULT_NAMESPACE, "fields": fields, "rerank": rerank, "timeout": timeout}
        if (text := searches.text(asked)) is not None:
            self._check_fits_once()
            asked = searches.by_vector(asked, self._texts.query(text))
            others["rerank"] = searches.reranked(rerank, text)
        response: SearchRecordsResponse = self._index.search(**sdk.search_arguments(self._index.search, asked, **others))
        return response

    search_records = search

    @property
    def documents(self) -> Any:
        """The documents of a document index, with vectors made of their texts where `vector_fields` says so."""
        return TaskvecDocuments(self._index.documents, self._texts) if self._texts.vector_fields else self._index.documents

    def close(self) -> None:
        """Close the connection, and let go of an encoder that was loaded by name."""
        self._index.close()
        self._texts.encoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _check_fits_once(self) -> None:
        if not self._fits:
            self._check_fits(self._index.describe_index_stats())


class AsyncTaskvecIndex(WithEncoder):
    """An AsyncIndex that takes text, see TaskvecIndex; a thread embeds, and cancelling a call ends that at the next batch."""

    _async = True

    async def upsert_records(self, *, records: Records, namespace: str, timeout: float | None = None) -> "UpsertRecordsResponse":
        """Embed the texts of records and upsert them, see TaskvecIndex.upsert_records."""
        await self._check_fits_once()
        count, upserts = 0, self._texts.upserts(records)
        while batch := await run_in_thread(next, upserts, None):
            with telling(count, batch):
                check_count(await self._index.upsert(vectors=batch, **classic(namespace, timeout)), batch)
            count += len(batch)
        return responses.upserted(count)

    async def search(
        self,
        *,
        namespace: str,
        top_k: int | None = None,
        inputs: Object | None = None,
        vector: Sequence[float] | Object | None = None,
        id: str | None = None,
        filter: Object | None = None,
        fields: Sequence[str] | None = None,
        rerank: Object | None = None,
        match_terms: Object | None = None,
        query: Object | None = None,
        timeout: float | None = None,
    ) -> "SearchRecordsResponse":
        """Search by a text, a vector or an id, see TaskvecIndex.search."""
        asked = searches.read(query, top_k=top_k, inputs=inputs, vector=vector, id=id, filter=filter, match_terms=match_terms)
        others = {"namespace": namespace or DEFAULT_NAMESPACE, "fields": fields, "rerank": rerank, "timeout": timeout}
        if (text := searches.text(asked)) is not None:
            await self._check_fits_once()
            asked = searches.by_vector(asked, await run_in_thread(self._texts.query, text))
            others["rerank"] = searches.reranked(rerank, text)
        response: SearchRecordsResponse = await self._index.search(**sdk.search_arguments(self._index.search, asked, **others))
        return response

    search_records = search

    @property
    def documents(self) -> Any:
        """The documents of a document index, see TaskvecIndex.documents."""
        made = self._texts.vector_fields
        return AsyncTaskvecDocuments(self._index.documents, self._texts) if made else self._index.documents

    async def close(self) -> None:
        """Close the connection, and let go of an encoder that was loaded by name."""
        await self._index.close()
        self._texts.encoder.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def _check_fits_once(self) -> None:
        if not self._fits:
            stats = await self._index.describe_index_stats()
            await run_in_thread(self._check_fits, stats)
