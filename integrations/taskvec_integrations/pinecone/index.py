"""Pinecone's indexes with text where vectors go: a passage in the records that are written, a query in what is searched for.

Composition around the SDK's Index, AsyncIndex or GrpcIndex, whose every other method and attribute is reached through these.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from taskvec import Encoder
from taskvec.hub import DEFAULT_MODEL
from taskvec.pipeline import in_thread
from taskvec_integrations.options import EmbedSettings, LazyEncoder, TaskChoice
from taskvec_integrations.pinecone import sdk, searches
from taskvec_integrations.pinecone.documents import AsyncTaskvecDocuments, TaskvecDocuments
from taskvec_integrations.pinecone.texts import Texts

if TYPE_CHECKING:
    from pinecone import SearchRecordsResponse, UpsertRecordsResponse

DEFAULT_NAMESPACE = "__default__"

Records = Sequence[Mapping[str, Any]]
Object = Mapping[str, Any]


class _WithEncoder:
    """The constructor of both, and the way to everything that is the SDK's own."""

    _async: bool

    def __init__(
        self,
        index: Any,
        encoder: Encoder | str | Path = DEFAULT_MODEL,
        *,
        text_field: str = "text",
        vector_fields: Mapping[str, str] | None = None,
        document_field: str | None = None,
        dimensions: int | None = None,
        document_task: TaskChoice = "auto",
        query_task: TaskChoice = "auto",
    ) -> None:
        _check_index(index, self._async, type(self).__name__)
        if vector_fields and not hasattr(index, "documents"):
            raise ValueError(f"vector_fields name fields of documents, which {type(index).__name__} of this SDK does not have")
        self._index = index
        settings = EmbedSettings(document_task, query_task, dimensions)
        self._texts = Texts(LazyEncoder(encoder), settings, text_field, vector_fields, document_field)
        self._fits = False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # nor may a copy that has no index yet look for it here
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._index, name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._index!r}, encoder={self._texts.encoder.name!r})"

    def _check_fits(self, stats: Any) -> None:
        """Vectors of another length than the index has are a ValueError that says what to do; it is looked at once."""
        held, ours = stats["dimension"], self._texts.dimensions
        if held is not None and held != ours:
            raise ValueError(
                f"the index has vectors of {held} numbers, {self._texts.encoder.name} makes {ours}: "
                f"pass dimensions={held}, or create an index of dimension {ours}"
            )
        self._fits = True


class TaskvecIndex(_WithEncoder):
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
            with _telling(count, batch):
                _check_count(self._index.upsert(vectors=batch, **_classic(namespace, timeout)), batch)
            count += len(batch)
        return sdk.answers.upserted(count)

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


class AsyncTaskvecIndex(_WithEncoder):
    """An AsyncIndex that takes text, see TaskvecIndex; a thread embeds, and cancelling a call ends that at the next batch."""

    _async = True

    async def upsert_records(self, *, records: Records, namespace: str, timeout: float | None = None) -> "UpsertRecordsResponse":
        """Embed the texts of records and upsert them, see TaskvecIndex.upsert_records."""
        await self._check_fits_once()
        count, upserts = 0, self._texts.upserts(records)
        while batch := await in_thread(next, upserts, None):
            with _telling(count, batch):
                _check_count(await self._index.upsert(vectors=batch, **_classic(namespace, timeout)), batch)
            count += len(batch)
        return sdk.answers.upserted(count)

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
            asked = searches.by_vector(asked, await in_thread(self._texts.query, text))
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
            await in_thread(self._check_fits, stats)


def _check_index(index: object, asynchronous: bool, wrapper: str) -> None:
    """Anything but an index of the right kind is a TypeError that says what to do."""
    if not hasattr(index, "upsert"):
        fix = "await it first" if hasattr(index, "__await__") else "make one with pc.index(...), in SDK 7 and 8 pc.Index(...)"
        raise TypeError(f"index is {index!r}, an index of Pinecone's SDK was expected: {fix}")
    if sdk.is_async(index) != asynchronous:
        other = {"TaskvecIndex": "AsyncTaskvecIndex", "AsyncTaskvecIndex": "TaskvecIndex"}[wrapper]
        raise TypeError(f"{wrapper} was given {index!r}: use {other} for it")


def _classic(namespace: str, timeout: float | None) -> dict[str, Any]:
    """The arguments of `upsert` beside its vectors, whose name for the default namespace is an empty one."""
    given = {} if timeout is None else {"timeout": timeout}
    return {**given, "namespace": "" if namespace == DEFAULT_NAMESPACE else namespace}


def _check_count(response: Any, batch: list[dict[str, Any]]) -> None:
    if response.upserted_count != len(batch):
        raise RuntimeError(f"Pinecone says that it has upserted {response.upserted_count} of {len(batch)} vectors")


@contextmanager
def _telling(written: int, batch: list[dict[str, Any]]) -> Iterator[None]:
    """An error of a request says which records are written, and from which on it is not known."""
    try:
        yield
    except Exception as error:
        done = f"records 0 to {written - 1} are written" if written else "no record is known to be written"
        since = f"the request from record {written} ({batch[0]['id']!r}) on failed"
        error.add_note(f"{done}, {since}: fix the cause, then upsert those again, or all of them")
        raise
