"""The documents of a document index with text where vectors go: around the SDK's Documents and AsyncDocuments (SDK 10 on)."""

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from taskvec.integration import run_in_thread
from taskvec_integrations.pinecone import sdk
from taskvec_integrations.pinecone.embed import Texts

if TYPE_CHECKING:
    from pinecone import BatchResult, SearchDocumentsResponse, UpdateDocumentsResponse, UpsertDocumentsResponse
    from pinecone.async_client.documents import AsyncDocuments
    from pinecone.client.documents import Documents

log = logging.getLogger("taskvec")

Given = Sequence[Mapping[str, Any]]
"""Documents, as dicts or as the SDK's DocumentRecords."""


class _Documents:
    """What both do before the SDK's own methods are called, which are all reached through these."""

    def __init__(self, documents: Any, texts: Texts) -> None:
        self._documents = documents
        self._texts = texts

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._documents, name)

    def _whole(self, documents: Given) -> list[dict[str, Any]]:
        return self._texts.filled(documents, complete=True)

    def _changed(self, documents: Given | None, set_fields: Mapping[str, Any] | None) -> list[dict[str, Any]] | None:
        """The documents of an update: where a text changes, its vector does, too."""
        texts = set((self._texts.vector_fields or {}).values())
        if stale := texts.intersection(set_fields or ()):
            raise ValueError(f"set_fields changes the text {stale.pop()!r}, not its vector: update(documents=...) changes both")
        return None if documents is None else self._texts.filled(documents, complete=False)

    def _scoring(self, clauses: Sequence[Any]) -> list[Any]:
        """The clauses with vectors for the texts that are searched in our fields."""
        return [self._clause(clause) for clause in clauses]

    def _clause(self, clause: Any) -> Any:
        asked = sdk.embed_query(clause)
        field = self._texts.searched(asked.field) if asked else None
        return sdk.dense_query(field, self._texts.query(asked.query)) if field else clause


class TaskvecDocuments(_Documents):
    """`index.documents` with texts embedded here: in documents that lack a vector, and in an EmbedQuery for such a field."""

    _documents: "Documents"

    def upsert(self, *, namespace: str, documents: Given, **options: Any) -> "UpsertDocumentsResponse":
        """Upsert documents, each with the vectors of its texts; one without text and vector is a ValueError."""
        return self._documents.upsert(namespace=namespace, documents=self._whole(documents), **options)

    def batch_upsert(self, *, namespace: str, documents: Given, **options: Any) -> "BatchResult":
        """Upsert any number of documents; as in the SDK, those that failed are in the result, which is also logged."""
        return _told(self._documents.batch_upsert(namespace=namespace, documents=self._whole(documents), **options))

    def update(
        self, *, namespace: str, documents: Given | None = None, set_fields: Mapping[str, Any] | None = None, **options: Any
    ) -> "UpdateDocumentsResponse":
        """Update documents; where a text is among the changes, its vector is made anew."""
        changed = self._changed(documents, set_fields)
        return self._documents.update(namespace=namespace, documents=changed, set_fields=set_fields, **options)

    def search(self, *, namespace: str, score_by: Sequence[Any], **options: Any) -> "SearchDocumentsResponse":
        """Search; EmbedQuery(field=..., query=...) for a vector of ours, or the text it is made of, is embedded here."""
        return self._documents.search(namespace=namespace, score_by=self._scoring(score_by), **options)


class AsyncTaskvecDocuments(_Documents):
    """TaskvecDocuments for `await`; a thread embeds."""

    _documents: "AsyncDocuments"

    async def upsert(self, *, namespace: str, documents: Given, **options: Any) -> "UpsertDocumentsResponse":
        """Upsert documents, see TaskvecDocuments.upsert."""
        whole = await run_in_thread(self._whole, documents)
        return await self._documents.upsert(namespace=namespace, documents=whole, **options)

    async def batch_upsert(self, *, namespace: str, documents: Given, **options: Any) -> "BatchResult":
        """Upsert any number of documents, see TaskvecDocuments.batch_upsert."""
        whole = await run_in_thread(self._whole, documents)
        return _told(await self._documents.batch_upsert(namespace=namespace, documents=whole, **options))

    async def update(
        self, *, namespace: str, documents: Given | None = None, set_fields: Mapping[str, Any] | None = None, **options: Any
    ) -> "UpdateDocumentsResponse":
        """Update documents, see TaskvecDocuments.update."""
        changed = await run_in_thread(self._changed, documents, set_fields)
        return await self._documents.update(namespace=namespace, documents=changed, set_fields=set_fields, **options)

    async def search(self, *, namespace: str, score_by: Sequence[Any], **options: Any) -> "SearchDocumentsResponse":
        """Search, see TaskvecDocuments.search."""
        clauses = await run_in_thread(self._scoring, score_by)
        return await self._documents.search(namespace=namespace, score_by=clauses, **options)


def _told(result: "BatchResult") -> "BatchResult":
    if result.has_errors:
        log.warning("%d of %d documents are not written: %r", result.failed_item_count, result.total_item_count, result)
    return result
