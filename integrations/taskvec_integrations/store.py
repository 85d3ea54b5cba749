"""Store: documents in, hits out. Settings are given once, so that ingesting and searching cannot disagree.

Knows encoders and settings; the database is behind `Backend` (ingestion/backend.py), the order of steps in ingestion/run.py.
"""

from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict

from taskvec import Encoder
from taskvec.integration import DEFAULT_MODEL, Progress, check_progress, run_in_thread
from taskvec_integrations.defaults import CHUNK_TOKENS, RETRY_SECONDS
from taskvec_integrations.ingestion.async_source import AsyncSource, called_from_loop
from taskvec_integrations.ingestion.backend import Backend
from taskvec_integrations.ingestion.chunking import check_chunk_tokens
from taskvec_integrations.ingestion.collection import open_for_reading
from taskvec_integrations.ingestion.documents import Document, Input
from taskvec_integrations.ingestion.points import BARE, Hit, Record
from taskvec_integrations.ingestion.report import Counts, Failure, IngestReport
from taskvec_integrations.ingestion.retries import check_seconds
from taskvec_integrations.ingestion.run import Ingestion
from taskvec_integrations.lazy_encoder import LazyEncoder
from taskvec_integrations.task_choice import EmbedSettings, TaskChoice

__all__ = ["Counts", "Document", "Failure", "Hit", "IngestReport", "LazyEncoder", "Store", "StoreOptions"]


class StoreOptions(TypedDict, total=False):
    """The settings that every store takes beside its database.

    Attributes:
        encoder: An Encoder, which stays open; the name of a model (hub id, folder, "mini"), which is loaded when it is first
            needed; or a LazyEncoder, which holds a name with device, dtype and the like.
        dimensions: The length of the vectors; None is the model's full width.
        late_chunking: Whether the chunks of a document share its context.
        document_task: The task for documents; "auto" is retrieval.passage, None the bare model.
        query_task: The task for queries; "auto" is retrieval.query, None the bare model.
        chunk_tokens: Texts that come without chunks are split at this many tokens, 8 or more; None never splits.
        retry_seconds: For how many seconds a call that may succeed later (429, 503, timeouts, broken connections) is tried again.
    """

    encoder: Encoder | str | Path | LazyEncoder
    dimensions: int | None
    late_chunking: bool
    document_task: TaskChoice
    query_task: TaskChoice
    chunk_tokens: int | None
    retry_seconds: float


class Store:
    """Documents in a collection of a vector database. QdrantStore, MilvusStore and PineconeStore bring the database.

    Nothing is sent to the database, and no model is loaded, before the first use.

    Args:
        engine: The collection, a `Backend`; the parameter keeps its name of version 0.1.0.
        encoder: See `StoreOptions`, as for all settings that follow.
        dimensions: The length of the vectors; None is the model's full width.
        late_chunking: Whether the chunks of a document share its context.
        document_task: The task for documents.
        query_task: The task for queries.
        chunk_tokens: Texts that come without chunks are split at this many tokens; None never splits.
        retry_seconds: For how many seconds a call that may succeed later is tried again.

    Raises:
        TypeError, ValueError: A setting is of the wrong type or out of its range.

    Example:
        >>> with QdrantStore(QdrantClient(path="index"), "docs", encoder="mini", late_chunking=True) as store:
        ...     print(store.ingest([("bread", "Yeast turns sugar into gas.")]))
        ...     print(store.search("Why does bread rise?", limit=1))
    """

    def __init__(
        self,
        engine: Backend,
        *,
        encoder: Encoder | str | Path | LazyEncoder = DEFAULT_MODEL,
        dimensions: int | None = None,
        late_chunking: bool = False,
        document_task: TaskChoice = "auto",
        query_task: TaskChoice = "auto",
        chunk_tokens: int | None = CHUNK_TOKENS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self.backend = engine
        self._encoder = encoder if isinstance(encoder, LazyEncoder) else LazyEncoder(encoder)
        self._settings = EmbedSettings(document_task, query_task, dimensions, late_chunking)
        self._chunk_tokens = check_chunk_tokens(chunk_tokens)
        self._retry_seconds = check_seconds(retry_seconds)
        self._is_checked = False
        self._close_client: Callable[[], None] = lambda: None

    def ingest(
        self, documents: Iterable[Input], *, progress: Progress = False, report: IngestReport | None = None
    ) -> IngestReport:
        """Write documents, and make the collection where there is none.

        What the collection already holds unchanged is neither encoded nor written. Chunks that a document no longer has are
        deleted. A run that was cut short goes on when it is started again. Of two documents with one id the later counts.
        A document that cannot be used, or that the server refuses, is named in the report and the others are written; the
        chunks of its earlier version stay where nothing replaced them.

        Args:
            documents: Documents, texts, or pairs of id and text; any iterable, which is read as it is needed.
            progress: True draws a bar; a function is called with (documents done, documents in all or None).
            report: A new IngestReport to fill, for a caller who wants to look while the run goes on or after it was ended.

        Returns:
            What was done. An error that ends the run early has the report so far as a note.

        Raises:
            TypeError: `documents` is no iterable of documents.
            ValueError: The collection holds vectors of another model, task, metric, dimensions or late_chunking, or points of
                unknown origin.
        """
        _check_documents(documents)
        check_progress(progress)
        return self._ingestion(report).run(documents, progress)

    def prepare(self) -> None:
        """Do what `ingest` does before the first document: load the model, make the collection or check that it fits."""
        self._ingestion(None).open_collection()

    def ingest_part(self, documents: Iterable[Input], *, report: IngestReport | None = None) -> IngestReport:
        """Ingest a part of a large run, in any process: `prepare` comes before the first part, `finish` after the last.

        Parts may run at the same time where no two of them have documents of one id.

        Args:
            documents: As for `ingest`.
            report: As for `ingest`.

        Returns:
            What was done of this part.
        """
        _check_documents(documents)
        return self._ingestion(report, is_part=True).run(documents, False)

    def finish(self) -> None:
        """Do what `ingest` does at the end of a run that changed anything: flush, wait until all of it can be searched."""
        self.backend.finish()

    async def aingest(self, documents: Iterable[Input] | AsyncIterable[Input], *, progress: Progress = False) -> IngestReport:
        """`ingest` in a thread; cancelling it ends the run at the next batch.

        Args:
            documents: As for `ingest`, or an async iterable, which is closed at the end.
            progress: As for `ingest`; a function is called in the thread.
        """
        with called_from_loop() as loop:
            if not isinstance(documents, AsyncIterable):
                return await run_in_thread(self.ingest, documents, progress=progress)
            source = AsyncSource(documents, loop)
            try:
                return await run_in_thread(self.ingest, source, progress=progress)
            finally:
                await source.close()

    def search(self, query: str, limit: int = 10, *, filter: Any = None) -> list[Hit]:
        """Find the best chunks for a question.

        Args:
            query: The question, which is encoded with the query task.
            limit: The most hits to return.
            filter: The database's own kind of filter, as its client takes it.

        Returns:
            The hits, best first; scores are cosines.

        Raises:
            LookupError: There is no such collection.
            ValueError: The collection was made by another model, or with other settings.
        """
        if not isinstance(query, str):
            raise TypeError(f"query is {query!r}: a str was expected")
        encoder = self._encoder.get()
        if not self._is_checked:
            open_for_reading(self.backend, self._record(encoder))
            self._is_checked = True
        vector = encoder.encode(query, task=self._settings.task("query"), dimensions=self._settings.dimensions)
        return self.backend.query(vector, limit, filter)

    async def asearch(self, query: str, limit: int = 10, *, filter: Any = None) -> list[Hit]:
        """`search` in a thread."""
        with called_from_loop():
            return await run_in_thread(self.search, query, limit, filter=filter)

    def exists(self) -> bool:
        """Whether the collection is there. Asks once and never tries again, so that a server that is down is known at once."""
        return self.backend.find() is not None

    def take_client(self, close_client: Callable[[], None]) -> Self:
        """Make this store the owner of its database's client: `close` will call `close_client`, too."""
        self._close_client = close_client
        return self

    own = take_client
    """The name of `take_client` in version 0.1.0, kept until 0.3.0."""

    @property
    def engine(self) -> Backend:
        """The name of `backend` in version 0.1.0, kept until 0.3.0."""
        return self.backend

    def close(self) -> None:
        """Close what belongs to this store: an encoder that was loaded here, a client that it took (`take_client`)."""
        self._encoder.close()
        self._close_client()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _ingestion(self, report: IngestReport | None, is_part: bool = False) -> Ingestion:
        encoder = self._encoder.get()
        report = IngestReport() if report is None else report
        return Ingestion(self.backend, encoder, self._record(encoder), self._chunk_tokens, self._retry_seconds, report, is_part)

    def _record(self, encoder: Encoder) -> Record:
        task, dimensions = self._settings.task("document"), self._settings.dimensions
        probe = encoder.encode([], task=task, dimensions=dimensions)  # settings that this model cannot serve are an error here
        return Record(encoder.fingerprint, probe.shape[1], task or BARE, self._settings.late_chunking)


def _check_documents(documents: object) -> None:
    if isinstance(documents, str | bytes | Mapping | Document) or not isinstance(documents, Iterable):
        raise TypeError(f"documents is {type(documents).__name__}: a list or another iterable of documents was expected")
    if isinstance(documents, tuple) and len(documents) == 2 and all(isinstance(part, str | int) for part in documents):
        raise TypeError(f"documents is the tuple {documents!r}: put it in a list, be it one pair of id and text or two texts")
