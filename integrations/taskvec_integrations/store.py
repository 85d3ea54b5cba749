"""Store: documents in, hits out. Settings are given once, so that ingesting and searching cannot disagree.

Knows encoders and the order of steps; the database is behind `Backend` (backend.py), the pipeline in ingest.py.
"""

import asyncio
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict

from taskvec import Encoder
from taskvec.integration import DEFAULT_MODEL, Progress, check_progress, run_in_thread
from taskvec_integrations.ingestion.backend import BARE, Backend, Hit, Record, caller_loop
from taskvec_integrations.ingestion.chunking import check_chunk_tokens
from taskvec_integrations.ingestion.collection import open_for_reading
from taskvec_integrations.ingestion.documents import Document, Input
from taskvec_integrations.ingestion.report import Counts, Failure, IngestReport
from taskvec_integrations.ingestion.retries import check_seconds
from taskvec_integrations.ingestion.run import Ingest
from taskvec_integrations.lazy_encoder import LazyEncoder
from taskvec_integrations.task_choice import EmbedSettings, TaskChoice

__all__ = ["Counts", "Document", "Failure", "Hit", "IngestReport", "Store", "StoreOptions"]

CHUNK_TOKENS = 512
RETRY_SECONDS = 300.0


class StoreOptions(TypedDict, total=False):
    """What every store takes beside its database; see `Store` for what they mean."""

    encoder: Encoder | str | Path | LazyEncoder
    dimensions: int | None
    late_chunking: bool
    document_task: TaskChoice
    query_task: TaskChoice
    chunk_tokens: int | None
    retry_seconds: float


class Store:
    """Documents in a collection of a vector database; QdrantStore and its siblings bring the database.

    encoder: an Encoder, or a model's name that is loaded when first needed; a LazyEncoder holds a name with device, dtype and the
    like. dimensions: None is the model's full width.
    late_chunking: the chunks of a document share its context. document_task, query_task: another task than retrieval.passage and
    retrieval.query, None for the bare model. chunk_tokens: texts without chunks of their own are split at this many tokens; None
    never splits. retry_seconds: how long a call that may succeed later (429, 503, timeouts, broken connections) is tried again.
    Nothing is sent before the first use.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        encoder: Encoder | str | Path | LazyEncoder = DEFAULT_MODEL,
        dimensions: int | None = None,
        late_chunking: bool = False,
        document_task: TaskChoice = "auto",
        query_task: TaskChoice = "auto",
        chunk_tokens: int | None = CHUNK_TOKENS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self.backend = backend
        self._encoder = encoder if isinstance(encoder, LazyEncoder) else LazyEncoder(encoder)
        self._settings = EmbedSettings(document_task, query_task, dimensions, late_chunking)
        self._chunk_tokens = check_chunk_tokens(chunk_tokens)
        self._retry_seconds = check_seconds(retry_seconds)
        self._checked = False
        self._close_client: Callable[[], None] = lambda: None

    def ingest(
        self, documents: Iterable[Input], *, progress: Progress = False, report: IngestReport | None = None
    ) -> IngestReport:
        """Write documents (Documents, texts, pairs of id and text; any iterable, read as it is needed) and say what was done.

        What the collection already holds unchanged is neither encoded nor written, chunks that a document no longer has are
        deleted, a run that was cut short goes on when it is started again. Of two documents with one id the later counts. A
        document that cannot be used or that the server refuses is named in the report, the others land; chunks of its
        version before stay where nothing replaced them. progress: True for a bar, or a function of (documents done, documents
        in all or None). report: a new IngestReport to fill, for who wants to look while the run goes on or after it was ended.

        Makes the collection where there is none; ValueError where it holds vectors of another model, task, dimensions, metric
        or without late chunking. An error that ends the run early has the report so far as a note.
        """
        _check_documents(documents)
        check_progress(progress)
        return self._run(report)(documents, progress)

    def prepare(self) -> None:
        """What `ingest` does before the first document: load the model, make the collection or check that it fits."""
        self._run(None).open()

    def ingest_part(self, documents: Iterable[Input], *, report: IngestReport | None = None) -> IngestReport:
        """`ingest` of a part of a large run, in any process: `prepare` comes before the first, `finish` after the last.

        Parts may run at the same time where no two of them have documents of one id.
        """
        _check_documents(documents)
        return self._run(report, part=True)(documents, False)

    def finish(self) -> None:
        """What `ingest` does at the end of a run that changed anything: flush, wait until it can be searched."""
        self.backend.finish()

    async def aingest(self, documents: Iterable[Input] | AsyncIterable[Input], *, progress: Progress = False) -> IngestReport:
        """`ingest` in a thread, also of an async iterable, which is closed; cancelling it ends the run at the next batch."""
        with _called_from_loop() as loop:
            if not isinstance(documents, AsyncIterable):
                return await run_in_thread(self.ingest, documents, progress=progress)
            source = _AsyncSource(documents, loop)
            try:
                return await run_in_thread(self.ingest, source, progress=progress)
            finally:
                await source.close()

    def search(self, query: str, limit: int = 10, *, filter: Any = None) -> list[Hit]:
        """The best chunks for a question, which is encoded with the query task; `filter` as the database's client takes it.

        LookupError where there is no such collection, ValueError where another model or other settings made it.
        """
        if not isinstance(query, str):
            raise TypeError(f"query is {query!r}: a str was expected")
        encoder = self._encoder.get()
        if not self._checked:
            open_for_reading(self.backend, self._record(encoder))
            self._checked = True
        vector = encoder.encode(query, task=self._settings.task("query"), dimensions=self._settings.dimensions)
        return self.backend.query(vector, limit, filter)

    async def asearch(self, query: str, limit: int = 10, *, filter: Any = None) -> list[Hit]:
        """`search` in a thread."""
        with _called_from_loop():
            return await run_in_thread(self.search, query, limit, filter=filter)

    def exists(self) -> bool:
        """Whether the collection is there: asks once and never tries again, so that what is down is known at once."""
        return self.backend.find() is not None

    def own(self, close_client: Callable[[], None]) -> Self:
        """Have `close` close the database's client, too, one that was made for this store alone."""
        self._close_client = close_client
        return self

    def close(self) -> None:
        """Let go of an encoder that was loaded here; one that was passed in stays, and so does a client that is not `own`."""
        self._encoder.close()
        self._close_client()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _run(self, report: IngestReport | None, part: bool = False) -> Ingest:
        encoder = self._encoder.get()
        report = IngestReport() if report is None else report
        return Ingest(self.backend, encoder, self._record(encoder), self._chunk_tokens, self._retry_seconds, report, part)

    def _record(self, encoder: Encoder) -> Record:
        task, dimensions = self._settings.task("document"), self._settings.dimensions
        probe = encoder.encode([], task=task, dimensions=dimensions)  # settings that this model cannot serve are an error here
        return Record(encoder.fingerprint, probe.shape[1], task or BARE, self._settings.late_chunking)


def _check_documents(documents: object) -> None:
    if isinstance(documents, str | bytes | Mapping | Document) or not isinstance(documents, Iterable):
        raise TypeError(f"documents is {type(documents).__name__}: a list or another iterable of documents was expected")
    if isinstance(documents, tuple) and len(documents) == 2 and all(isinstance(part, str | int) for part in documents):
        raise TypeError(f"documents is the tuple {documents!r}: put it in a list, be it one pair of id and text or two texts")


@contextmanager
def _called_from_loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.get_running_loop()
    reset = caller_loop.set(loop)
    try:
        yield loop
    finally:
        caller_loop.reset(reset)


class _AsyncSource:
    """An async iterable as a plain one, read in another thread than its loop's."""

    def __init__(self, documents: AsyncIterable[Input], loop: asyncio.AbstractEventLoop) -> None:
        self._documents = aiter(documents)
        self._loop = loop
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = False

    def __iter__(self) -> Iterator[Input]:
        end = object()
        while not self._cancelled:
            try:
                document = asyncio.run_coroutine_threadsafe(self._next(end), self._loop).result()
            except CancelledError:  # an Exception, unlike asyncio's
                break
            if document is end:
                return
            yield document
        raise asyncio.CancelledError

    async def _next(self, end: object) -> Any:
        if self._cancelled:
            raise asyncio.CancelledError
        self._task = asyncio.current_task()
        return await anext(self._documents, end)

    async def close(self) -> None:
        """Wake the thread that waits for a document, read no more of them, and close what they come from."""
        self._cancelled = True
        if self._task and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])
        if aclose := getattr(self._documents, "aclose", None):
            await aclose()
