"""From a call to its vectors: task, tokens, queue. Knows the encoder and the scheduler, nothing of HTTP."""

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from taskvec import Encoder, Task
from taskvec.integration import Vectors
from taskvec.packing import Batch
from taskvec.pipeline import Prepared
from taskvec_integrations.server.metrics import Metrics
from taskvec_integrations.server.request import Call, TaskChooser
from taskvec_integrations.server.scheduler import Scheduler
from taskvec_integrations.server.settings import ServerSettings

INLINE = 4000
"""Characters that are tokenised in the event loop's own thread: less than a millisecond."""
TOKENISERS = 2
"""Threads that tokenise what is longer; calls whose client left before one was free are dropped."""
CHARACTERS_PER_TOKEN = 64
"""More characters for each token of the context than this are not looked at: text has 4 or 5, and tokenising takes memory."""
BATCHES_WAITING, TOKENS_WAITING = 64, 2**18
"""What may wait by default: so many full batches, so many tokens at least."""


class Embedded(NamedTuple):
    """The vectors of a call (texts, dimensions), its task and the tokens it cost."""

    vectors: Vectors
    task: Task | None
    tokens: int


class Service:
    """An encoder behind a queue. Closing it runs what waits; the encoder is its owner's."""

    def __init__(self, encoder: Encoder, settings: ServerSettings, metrics: Metrics) -> None:
        self.encoder = encoder
        self.served = settings.names(encoder.model_id)
        self.limit = settings.max_waiting_tokens or max(TOKENS_WAITING, BATCHES_WAITING * encoder.max_batch_tokens)
        self._max_inputs = settings.max_inputs
        self._tokenising = ThreadPoolExecutor(TOKENISERS, thread_name_prefix="taskvec-tokeniser")
        self._choose = TaskChooser(self.served, settings.default_task, settings.recognise_instructions)
        self.scheduler = Scheduler(encoder, self.limit, settings.patience, metrics.batch)
        metrics.watch(lambda: self.scheduler.waiting_tokens, encoder.devices)

    def warm(self, tasks: Iterable[Task | None]) -> None:
        """Run a text of each task on each device, so that no request pays for merging weights."""
        for task in tasks:
            prepared = self.encoder.prepare(["warm"], task=task)
            for device in range(len(self.encoder.devices)):
                self.encoder.run(Batch(prepared.sequences), task, device=device)

    def close(self, seconds: float) -> None:
        """Take nothing new and run what waits, for so long at most."""
        self.scheduler.close(seconds)
        self._tokenising.shutdown(wait=False, cancel_futures=True)

    async def __call__(self, call: Call, prefix: Task | None = None, route: str = "") -> Embedded:
        """The vectors of a call; ValueError for what cannot be served, OverloadedError where too much waits."""
        if len(call.texts) > self._max_inputs:
            raise ValueError(f"{len(call.texts)} texts came in one request, {self._max_inputs} may: send them in parts")
        task, texts = self._choose(call, prefix)
        if sum(map(len, texts)) < INLINE:
            prepared = self._prepare(call, task, texts)
        else:
            work = partial(self._prepare, call, task, texts)
            prepared = await asyncio.get_running_loop().run_in_executor(self._tokenising, work)
        try:
            return Embedded(await self.scheduler(prepared, route), task, prepared.usage.tokens)
        except (TypeError, ValueError) as error:  # which is no mistake of the client's any more
            raise RuntimeError("encoding failed") from error

    def _prepare(self, call: Call, task: Task | None, texts: list[str]) -> Prepared:
        longest = CHARACTERS_PER_TOKEN * self.encoder.max_tokens
        if call.truncate:
            texts = [text[:longest] for text in texts]
        for place, text in enumerate(texts if not call.windows else ()):
            if len(text) > longest:
                raise ValueError(f"text {place} has {len(text)} characters, the limit is {longest}: split it, or truncate it")
        prepared = self.encoder.prepare(
            texts,
            late_chunking=call.late_chunking,
            task=task,
            dimensions=call.dimensions,
            normalize=call.normalize,
            truncate=call.truncate,
        )
        if prepared.usage.windows and not call.windows:
            raise ValueError(
                f"late_chunking joins all texts of a request, and these have more than the {self.encoder.max_tokens} tokens of "
                "the context: send fewer in one request, or late_chunking_windows=true to have them read in overlapping windows"
            )
        if {"binary", "ubinary"} & {*call.formats} and prepared.settings.dimensions % 8:
            raise ValueError(f"binary vectors have 8 dimensions in a byte: {prepared.settings.dimensions} is not a multiple of 8")
        return prepared
