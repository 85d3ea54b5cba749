"""From texts to vectors in bounded memory: tokenise a block, pack it, run its batches, put the rows back in order.

The next block is tokenised while the current one runs. Knows checked inputs only; `Encoder` checks them.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import NamedTuple

import numpy as np
import torch

from taskvec.blocks import blocks, map_ahead
from taskvec.devices import check_process
from taskvec.inputs import Item
from taskvec.late_chunking import document_sequences
from taskvec.options import Settings, Usage
from taskvec.packing import Batch, TokenSequence, pack
from taskvec.pooling import Vectors, normalise
from taskvec.progress import reporting
from taskvec.runner import Runner
from taskvec.tasks import Task
from taskvec.threads import raise_if_stopped
from taskvec.tokenizer import TextTokenizer

# A block is tokenised at once and sorted by length: about 8 batches of text at 4 characters a token.
CHARACTERS_PER_BATCH_TOKEN = 32


class Block(NamedTuple):
    """Tokenised items: the sequences to run, the number of output rows they fill, what they cost.

    `failure` is the error of the first item that could not be used; the block holds the items before it.
    """

    sequences: list[TokenSequence]
    rows: int
    usage: Usage
    failure: Exception | None = None


@dataclass(frozen=True)
class Prepared:
    """A call that is tokenised and not yet run, for a scheduler that makes batches of many calls (`Encoder.prepare`).

    sequences: to be run with `Encoder.run`, in any order and in any company of the same task; their pools belong to the rows
    of this call alone. rows: vectors that the call returns. usage: what it costs. Whether it returns one vector or
    a list of them is the caller's affair.
    """

    sequences: Sequence[TokenSequence]
    rows: int
    usage: Usage
    settings: Settings

    def finish(self, pooled: Vectors) -> Vectors:
        """The call's vectors (rows, dimensions) from the weighted sums of its pools (rows, width)."""
        cut = pooled[:, : self.settings.dimensions]
        return normalise(cut) if self.settings.normalize else cut


class Pipeline:
    """Runs texts and documents through a tokenizer and one or more runners. Safe to share between threads."""

    def __init__(self, tokenizer: TextTokenizer, runners: Sequence[Runner], max_tokens: int, max_batch_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._runners = runners
        self._max_tokens = max_tokens
        self._max_batch_tokens = max_batch_tokens

    @property
    def devices(self) -> list[torch.device]:
        """Where batches run."""
        return [runner.device for runner in self._runners]

    def texts(self, items: Iterable[Item], settings: Settings, total: int | None) -> Iterator[Vectors]:
        """Vectors (n, dimensions) of plain texts, a block of them at a time."""
        return self._run(items, partial(self._text_block, settings), settings, total)

    def documents(self, items: Iterable[Item], settings: Settings, total: int | None) -> Iterator[Vectors]:
        """Vectors (n_spans, dimensions) of each document in order; `total` counts the spans of all, if that is known."""
        counts: deque[int] = deque()
        for block in self._run(_counted(items, counts), partial(self._document_block, settings), settings, total):
            yield from _divided(block, counts)

    def check_lengths(self, items: Iterable[Item], settings: Settings) -> None:
        """Raise the ValueError of the first text that `truncate=False` refuses, before anything is encoded."""
        for block in self._blocks(items):
            raise_if_stopped()
            if failure := self._text_block(settings, block).failure:
                raise failure

    def prepare_texts(self, items: Sequence[Item], settings: Settings) -> Prepared:
        """Plain texts, tokenised; raises the ValueError of a text that `truncate=False` refuses."""
        return _prepared(self._text_block(settings, list(items)), settings)

    def prepare_documents(self, items: Sequence[Item], settings: Settings) -> Prepared:
        """Documents with spans, tokenised."""
        return _prepared(self._document_block(settings, list(items)), settings)

    def run(self, batch: Batch, task: Task | None, dimensions: int, device: int) -> Vectors:
        """The pooled vectors of a batch on the device of that number, see `Runner`."""
        check_process()
        return self._runners[device](batch, task, dimensions)

    def _blocks(self, items: Iterable[Item]) -> Iterator[list[Item]]:
        size = self._max_batch_tokens * CHARACTERS_PER_BATCH_TOKEN * len(self._runners)
        return blocks(items, lambda item: len(item.text), size)

    def _run(
        self, items: Iterable[Item], make: Callable[[list[Item]], Block], settings: Settings, total: int | None
    ) -> Iterator[Vectors]:
        check_process()
        done = 0.0
        with reporting(settings.progress, total) as report:
            for block in map_ahead(make, self._blocks(items)):
                vectors = np.zeros((block.rows, settings.dimensions), dtype=np.float32)
                for batch, pooled in self._pooled(block.sequences, settings):
                    raise_if_stopped()
                    weights = np.array([pool.weight for pool in batch.pools], dtype=np.float32)
                    np.add.at(vectors, [pool.row for pool in batch.pools], pooled * weights[:, None])
                    done += float(weights.sum())
                    report(round(done), total)
                settings.usage.add(block.usage)
                yield normalise(vectors) if settings.normalize else vectors
                if block.failure:
                    raise block.failure

    def _pooled(self, sequences: list[TokenSequence], settings: Settings) -> Iterator[tuple[Batch, Vectors]]:
        """Batches with their pooled vectors; on several devices each takes the next batch when it is free."""
        idle: SimpleQueue[Runner] = SimpleQueue()
        for runner in self._runners:
            idle.put(runner)

        def run(batch: Batch) -> tuple[Batch, Vectors]:
            runner = idle.get()
            try:
                return batch, runner(batch, settings.task, settings.dimensions)
            finally:
                idle.put(runner)

        batches = pack(sequences, self._max_batch_tokens)
        if len(self._runners) == 1:
            yield from map(run, batches)
        else:
            with ThreadPoolExecutor(len(self._runners), thread_name_prefix="taskvec-device") as executor:
                yield from executor.map(run, batches)

    def _text_block(self, settings: Settings, items: list[Item]) -> Block:
        usage = Usage()
        sequences: list[TokenSequence] = []
        failure = None
        encoded = self._tokenizer.encode([item.text for item in items], settings.instruction)
        for item, ids in zip(items, encoded, strict=True):
            if len(ids) > self._max_tokens:
                if not settings.truncate:
                    failure = ValueError(
                        f"text {item.position} has {len(ids)} tokens, instruction included, the limit is {self._max_tokens}: "
                        "shorten it, pass truncate=True, or split it and use late chunking"
                    )
                    break
                ids = np.concatenate((ids[: self._max_tokens - 1], ids[-1:]))
                usage.truncated += 1
            usage.texts += 1
            usage.tokens += len(ids)
            sequences.append(TokenSequence.whole(ids, len(sequences)))
        return Block(sequences, len(sequences), usage, failure)

    def _document_block(self, settings: Settings, items: list[Item]) -> Block:
        items = [item for item in items if item.spans]
        usage = Usage(texts=len(items))
        block: list[TokenSequence] = []
        rows = 0
        documents = self._tokenizer.encode_documents([item.text for item in items], settings.instruction)
        for item, document in zip(items, documents, strict=True):
            sequences = document_sequences(document, item.spans, rows, self._max_tokens)
            usage.tokens += sum(len(sequence.ids) for sequence in sequences)
            usage.windows += len(sequences) if len(document.ids) > self._max_tokens else 0
            rows += len(item.spans)
            block += sequences
        return Block(block, rows, usage)


def _prepared(block: Block, settings: Settings) -> Prepared:
    if block.failure:
        raise block.failure
    return Prepared(block.sequences, block.rows, block.usage, settings)


def _counted(items: Iterable[Item], counts: deque[int]) -> Iterator[Item]:
    """The items, with the number of spans of each added to `counts` as it is read."""
    for item in items:
        counts.append(len(item.spans))
        yield item


def _divided(block: Vectors, counts: deque[int]) -> Iterator[Vectors]:
    """The rows of a block by document: as many documents as the rows are of, which are taken from `counts`."""
    row = 0
    while row < len(block) or (counts and not counts[0]):
        count = counts.popleft()
        yield block[row : row + count]
        row += count
