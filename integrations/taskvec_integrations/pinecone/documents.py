"""The documents of a document index, with texts embedded here: around the SDK's Documents and AsyncDocuments (SDK 10 on)."""

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pinecone

from taskvec.integration import run_in_thread
from taskvec_integrations.pinecone.embed import RecordEmbedder

if TYPE_CHECKING:
    from pinecone import BatchResult, SearchDocumentsResponse, UpdateDocumentsResponse, UpsertDocumentsResponse
    from pinecone.async_client.documents import AsyncDocuments
    from pinecone.client.documents import Documents

log = logging.getLogger("taskvec")

DocumentInputs = Sequence[Mapping[str, Any]]
"""Documents, as dicts or as the SDK's DocumentRecords."""


class _DocumentsWrapper:
    """What both wrappers do before they call the SDK; every method that they do not define is the SDK's own."""

    def __init__(self, documents: Any, embedder: RecordEmbedder) -> None:
        self._documents = documents
        self._embedder = embedder

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._documents, name)

    def _embed_whole(self, documents: DocumentInputs) -> list[dict[str, Any]]:
        """The documents of an upsert with their vectors."""
        return self._embedder.embed_documents(documents, require_text=True)

    def _embed_changes(
        self, documents: DocumentInputs | None, set_fields: Mapping[str, Any] | None
    ) -> list[dict[str, Any]] | None:
        """The documents of an update: where a text changes, its vector does, too."""
        texts = set((self._embedder.vector_fields or {}).values())
        if stale := texts.intersection(set_fields or ()):
            raise ValueError(
                f"set_fields changes the text {stale.pop()!r} but not its vector: use update(documents=...), which changes both"
            )
        return None if documents is None else self._embedder.embed_documents(documents, require_text=False)

    def _embed_clauses(self, clauses: Sequence[Any]) -> list[Any]:
        """The clauses of a search, those by a text in one of our vector fields turned into clauses by a vector."""
        return [self._embed_clause(clause) for clause in clauses]

    def _embed_clause(self, clause: Any) -> Any:
        query = _as_embed_query(clause)
        field = self._embedder.vector_field_of(query.field) if query else None
        if query is None or field is None:
            return clause
        return pinecone.DenseVectorQuery(field=field, values=self._embedder.embed_query(query.query))


class TaskvecDocuments(_DocumentsWrapper):
    """`index.documents` that embeds texts here: in documents that lack a vector, and in the EmbedQuery of a search.

    Options that are not named here are those of the SDK's method.
    """

    _documents: "Documents"

    def upsert(self, *, namespace: str, documents: DocumentInputs, **options: Any) -> "UpsertDocumentsResponse":
        """Upsert documents with the vectors of their texts.

        Raises:
            ValueError: A document has neither a text nor a vector.
        """
        return self._documents.upsert(namespace=namespace, documents=self._embed_whole(documents), **options)

    def batch_upsert(self, *, namespace: str, documents: DocumentInputs, **options: Any) -> "BatchResult":
        """Upsert any number of documents.

        Returns:
            The SDK's result, which names the documents that failed; they are also logged.
        """
        return _log_failures(self._documents.batch_upsert(namespace=namespace, documents=self._embed_whole(documents), **options))

    def update(
        self,
        *,
        namespace: str,
        documents: DocumentInputs | None = None,
        set_fields: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> "UpdateDocumentsResponse":
        """Update documents; where a text changes, its vector does, too.

        Raises:
            ValueError: `set_fields` changes a text, whose vectors it cannot change.
        """
        changed = self._embed_changes(documents, set_fields)
        return self._documents.update(namespace=namespace, documents=changed, set_fields=set_fields, **options)

    def search(self, *, namespace: str, score_by: Sequence[Any], **options: Any) -> "SearchDocumentsResponse":
        """Search documents.

        Args:
            namespace: Where.
            score_by: The SDK's clauses. EmbedQuery(field=..., query=...), with one of `vector_fields` or the text field that it
                is made from, is embedded here.
            **options: As in the SDK.
        """
        return self._documents.search(namespace=namespace, score_by=self._embed_clauses(score_by), **options)


class AsyncTaskvecDocuments(_DocumentsWrapper):
    """TaskvecDocuments for `await`; a thread embeds."""

    _documents: "AsyncDocuments"

    async def upsert(self, *, namespace: str, documents: DocumentInputs, **options: Any) -> "UpsertDocumentsResponse":
        """Upsert documents, see TaskvecDocuments.upsert."""
        whole = await run_in_thread(self._embed_whole, documents)
        return await self._documents.upsert(namespace=namespace, documents=whole, **options)

    async def batch_upsert(self, *, namespace: str, documents: DocumentInputs, **options: Any) -> "BatchResult":
        """Upsert any number of documents, see TaskvecDocuments.batch_upsert."""
        whole = await run_in_thread(self._embed_whole, documents)
        return _log_failures(await self._documents.batch_upsert(namespace=namespace, documents=whole, **options))

    async def update(
        self,
        *,
        namespace: str,
        documents: DocumentInputs | None = None,
        set_fields: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> "UpdateDocumentsResponse":
        """Update documents, see TaskvecDocuments.update."""
        changed = await run_in_thread(self._embed_changes, documents, set_fields)
        return await self._documents.update(namespace=namespace, documents=changed, set_fields=set_fields, **options)

    async def search(self, *, namespace: str, score_by: Sequence[Any], **options: Any) -> "SearchDocumentsResponse":
        """Search documents, see TaskvecDocuments.search."""
        clauses = await run_in_thread(self._embed_clauses, score_by)
        return await self._documents.search(namespace=namespace, score_by=clauses, **options)


def _as_embed_query(clause: Any) -> "pinecone.EmbedQuery | None":
    """A clause of a search as an EmbedQuery, where it is one or a dict of one; None for any other clause."""
    if isinstance(clause, Mapping) and clause.get("type") == "embed":
        return pinecone.EmbedQuery(**{name: value for name, value in clause.items() if name != "type"})
    return clause if isinstance(clause, pinecone.EmbedQuery) else None


def _log_failures(result: "BatchResult") -> "BatchResult":
    if result.has_errors:
        log.warning("%d of %d documents are not written: %r", result.failed_item_count, result.total_item_count, result)
    return result
