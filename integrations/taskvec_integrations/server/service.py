"""From a request to its vectors: task, tokens, queue. Knows the encoder and the scheduler, nothing of HTTP."""

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from taskvec import Encoder, Task
from taskvec.integration import Vectors
from taskvec.pipeline import Prepared
from taskvec_integrations.serve_options import DEFAULT_WAITING_BATCHES, MIN_DEFAULT_WAITING_TOKENS
from taskvec_integrations.server.metrics import Metrics
from taskvec_integrations.server.request import EmbedRequest, TaskChooser
from taskvec_integrations.server.scheduler import Scheduler
from taskvec_integrations.server.settings import ServerSettings

MAX_INLINE_CHARACTERS = 4000
"""Shorter requests are tokenized in the thread of the event loop, which takes less than a millisecond."""
TOKENIZER_THREADS = 2
"""Threads that tokenize longer requests; a request whose client disconnects before one is free is dropped."""
MAX_CHARACTERS_PER_TOKEN = 64
"""Texts with more characters for each token of the context are not tokenized: text has 4 or 5, and tokenizing takes memory."""


class EmbedResult(NamedTuple):
    """The vectors of a request (texts, dimensions), its task (None for the bare model) and the tokens it cost."""

    vectors: Vectors
    task: Task | None
    tokens: int


class Service:
    """An encoder behind a queue.

    Args:
        encoder: Stays the caller's to close.
        settings: Of the server.
        metrics: Counts the batches, and shows the queue.

    Attributes:
        encoder: The encoder.
        served_names: The names that clients may call the model by.
        max_waiting_tokens: Tokens that may wait in the queue.
        scheduler: The queue and its threads.
    """

    def __init__(self, encoder: Encoder, settings: ServerSettings, metrics: Metrics) -> None:
        self.encoder = encoder
        self.served_names = settings.names(encoder.model_id)
        self.max_waiting_tokens = settings.max_waiting_tokens or max(
            MIN_DEFAULT_WAITING_TOKENS, DEFAULT_WAITING_BATCHES * encoder.max_batch_tokens
        )
        self._max_inputs = settings.max_inputs
        self._tokenizer_threads = ThreadPoolExecutor(TOKENIZER_THREADS, thread_name_prefix="taskvec-tokenizer")
        self._task_chooser = TaskChooser(self.served_names, settings.default_task, settings.recognize_instructions)
        self.scheduler = Scheduler(encoder, self.max_waiting_tokens, settings.patience, metrics.observe_batch)
        metrics.watch(lambda: self.scheduler.waiting_tokens, encoder.devices)

    def warm(self, tasks: Iterable[Task | None]) -> None:
        """Run a text of each task on each device, so that no request pays for merging weights."""
        for task in tasks:
            self.scheduler.warm(self.encoder.prepare(["warm"], task=task))

    def close(self, seconds: float) -> None:
        """Refuse new requests and run those that wait, for at most so many seconds."""
        self.scheduler.close(seconds)
        self._tokenizer_threads.shutdown(wait=False, cancel_futures=True)

    async def embed(self, request: EmbedRequest, path_task: Task | None = None, route: str = "") -> EmbedResult:
        """Embed the texts of a request.

        Args:
            request: The request.
            path_task: The task that its path stands for.
            route: The route that it came by, for metrics.

        Raises:
            ValueError: The request cannot be served.
            UnknownModelError: It names a model that is not served.
            OverloadedError: The queue has no room for it.
        """
        if len(request.texts) > self._max_inputs:
            raise ValueError(
                f"the request has {len(request.texts)} texts, the limit is {self._max_inputs}: send them in several requests"
            )
        task, texts = self._task_chooser.choose(request, path_task)
        if sum(map(len, texts)) < MAX_INLINE_CHARACTERS:
            prepared = self._prepare(request, task, texts)
        else:
            work = partial(self._prepare, request, task, texts)
            prepared = await asyncio.get_running_loop().run_in_executor(self._tokenizer_threads, work)
        try:
            vectors = await self.scheduler.submit(prepared, route)
        except (TypeError, ValueError) as error:  # the request was fine, so this is a failure of the server
            raise RuntimeError("encoding failed") from error
        return EmbedResult(vectors, task, prepared.usage.tokens)

    def _prepare(self, request: EmbedRequest, task: Task | None, texts: list[str]) -> Prepared:
        prepared = self.encoder.prepare(
            self._limit_characters(request, texts),
            late_chunking=request.late_chunking,
            task=task,
            dimensions=request.dimensions,
            normalize=request.normalize,
            truncate=request.truncate,
        )
        if prepared.usage.windows and not request.windows:
            raise ValueError(
                "late_chunking reads all texts of a request as one document, and these have more than the "
                f"{self.encoder.max_tokens} tokens of the context: send fewer texts in one request, or "
                "late_chunking_windows=true to read them in overlapping windows"
            )
        dimensions = prepared.settings.dimensions
        if {"binary", "ubinary"} & {*request.formats} and dimensions % 8:
            raise ValueError(
                f"dimensions is {dimensions}, which is not a multiple of 8: binary and ubinary store 8 dimensions in a byte"
            )
        return prepared

    def _limit_characters(self, request: EmbedRequest, texts: list[str]) -> list[str]:
        """Cut texts that need not be read to their end; ValueError for texts that are far too long."""
        limit = MAX_CHARACTERS_PER_TOKEN * self.encoder.max_tokens
        if request.truncate:
            texts = [text[:limit] for text in texts]
        for place, text in enumerate(texts if not request.windows else ()):
            if len(text) > limit:
                raise ValueError(
                    f"text {place} has {len(text)} characters, the limit is {limit}: split it, or ask to truncate it"
                )
        return texts
