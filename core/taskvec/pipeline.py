"""From texts to vectors in bounded memory: tokenize a block, pack it, run its batches, put the rows back in order.

The next block is tokenized while the current one runs. Knows checked inputs only; `Encoder` checks them.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
import torch

from taskvec.block_tokenizer import BlockTokenizer, TokenizedBlock
from taskvec.blocks import blocks, map_ahead
from taskvec.devices import check_process
from taskvec.inputs import Item
from taskvec.options import EncodeSettings, Usage
from taskvec.packing import Batch, TokenSequence, pack
from taskvec.pooling import Vectors, normalize
from taskvec.progress import reporting
from taskvec.runner import Runner
from taskvec.tasks import Task
from taskvec.threads import raise_if_stopped

# A block is tokenized at once and sorted by length: about 8 batches of text at 4 characters a token.
CHARACTERS_PER_BATCH_TOKEN = 32

Tokenize = Callable[[list[Item], EncodeSettings], TokenizedBlock]


@dataclass(frozen=True)
class Prepared:
    """A call that is tokenized and not yet run, for a scheduler that makes batches of many calls (`Encoder.prepare`).

    Whether the call returns one vector or a list of them is up to the caller.

    Attributes:
        sequences: To be run with `Encoder.run`, in any order and together with any others of the same task. Their pools belong
            to the rows of this call alone.
        rows: The number of vectors that the call returns.
        usage: What the call costs.
        settings: The checked options of the call.
    """

    sequences: Sequence[TokenSequence]
    rows: int
    usage: Usage
    settings: EncodeSettings

    @classmethod
    def of(cls, block: TokenizedBlock, settings: EncodeSettings) -> "Prepared":
        """The call whose items are all in `block`; raises the block's failure."""
        if block.failure:
            raise block.failure
        return cls(block.sequences, block.rows, block.usage, settings)

    def finish(self, pooled: Vectors) -> Vectors:
        """Make the vectors that `Encoder.encode` returns for a list.

        Args:
            pooled: (rows, width) float32, for each row the sum of its pools, each multiplied by its weight.

        Returns:
            (rows, dimensions) float32, normalized if the call asks for it.
        """
        cut = pooled[:, : self.settings.dimensions]
        return normalize(cut) if self.settings.normalize else cut


class Pipeline:
    """Runs texts and documents through a tokenizer and one or more runners. Safe to share between threads.

    Args:
        tokenizer: Makes token sequences of checked items.
        runners: One for each device; a device that is named twice has two.
        max_batch_tokens: The tokens of a batch, at most.
    """

    def __init__(self, tokenizer: BlockTokenizer, runners: Sequence[Runner], max_batch_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._runners = runners
        self._max_batch_tokens = max_batch_tokens

    @property
    def devices(self) -> list[torch.device]:
        """Where batches run."""
        return [runner.device for runner in self._runners]

    def encode_texts(self, items: Sequence[Item], settings: EncodeSettings) -> Vectors:
        """The vectors (n, dimensions) of plain texts; with `truncate=False` nothing is run before all lengths are checked."""
        if not settings.truncate and len(items) > 1:
            self._check_lengths(items, settings)
        vectors = np.empty((len(items), settings.dimensions), dtype=np.float32)
        row = 0
        for block in self.iter_texts(items, settings, len(items)):
            vectors[row : row + len(block)] = block
            row += len(block)
        return vectors

    def encode_documents(self, items: Sequence[Item], settings: EncodeSettings) -> list[Vectors]:
        """The vectors (n_spans, dimensions) of each document."""
        return list(self.iter_documents(items, settings, sum(len(item.spans) for item in items)))

    def iter_texts(self, items: Iterable[Item], settings: EncodeSettings, total: int | None = None) -> Iterator[Vectors]:
        """Vectors (n, dimensions) of plain texts, a block of them at a time; `total` is the number of texts, if known."""
        return self._run_blocks(items, self._tokenizer.tokenize_texts, settings, total)

    def iter_documents(self, items: Iterable[Item], settings: EncodeSettings, total: int | None = None) -> Iterator[Vectors]:
        """Vectors (n_spans, dimensions) of each document in order; `total` is the number of spans of all, if known."""
        counts: deque[int] = deque()
        for block in self._run_blocks(_counted(items, counts), self._tokenizer.tokenize_documents, settings, total):
            yield from _by_document(block, counts)

    def prepare_texts(self, items: Sequence[Item], settings: EncodeSettings) -> Prepared:
        """Plain texts, tokenized; raises the ValueError of a text that `truncate=False` refuses."""
        return Prepared.of(self._tokenizer.tokenize_texts(items, settings), settings)

    def prepare_documents(self, items: Sequence[Item], settings: EncodeSettings) -> Prepared:
        """Documents with spans, tokenized."""
        return Prepared.of(self._tokenizer.tokenize_documents(items, settings), settings)

    def run(self, batch: Batch, task: Task | None, dimensions: int, device: int) -> Vectors:
        """The pooled vectors of a batch on the device of that number, see `Runner.run`."""
        check_process()
        return self._runners[device].run(batch, task, dimensions)

    def _check_lengths(self, items: Iterable[Item], settings: EncodeSettings) -> None:
        """Raise the ValueError of the first text that `truncate=False` refuses."""
        for block in self._blocks(items):
            raise_if_stopped()
            if failure := self._tokenizer.tokenize_texts(block, settings).failure:
                raise failure

    def _blocks(self, items: Iterable[Item]) -> Iterator[list[Item]]:
        size = self._max_batch_tokens * CHARACTERS_PER_BATCH_TOKEN * len(self._runners)
        return blocks(items, lambda item: len(item.text), size)

    def _run_blocks(
        self, items: Iterable[Item], tokenize: Tokenize, settings: EncodeSettings, total: int | None
    ) -> Iterator[Vectors]:
        check_process()
        done = 0.0
        with reporting(settings.progress, total) as report:
            for block in map_ahead(lambda items: tokenize(items, settings), self._blocks(items)):
                vectors = np.zeros((block.rows, settings.dimensions), dtype=np.float32)
                for batch, pooled in self._run_batches(block.sequences, settings):
                    raise_if_stopped()
                    weights = np.array([pool.weight for pool in batch.pools], dtype=np.float32)
                    np.add.at(vectors, [pool.row for pool in batch.pools], pooled * weights[:, None])
                    done += float(weights.sum())
                    report(round(done), total)
                settings.usage.add(block.usage)
                yield normalize(vectors) if settings.normalize else vectors
                if block.failure:
                    raise block.failure

    def _run_batches(self, sequences: list[TokenSequence], settings: EncodeSettings) -> Iterator[tuple[Batch, Vectors]]:
        """Batches with their pooled vectors; on several devices each takes the next batch when it is free."""
        idle: SimpleQueue[Runner] = SimpleQueue()
        for runner in self._runners:
            idle.put(runner)

        def run(batch: Batch) -> tuple[Batch, Vectors]:
            runner = idle.get()
            try:
                return batch, runner.run(batch, settings.task, settings.dimensions)
            finally:
                idle.put(runner)

        batches = pack(sequences, self._max_batch_tokens)
        if len(self._runners) == 1:
            yield from map(run, batches)
        else:
            with ThreadPoolExecutor(len(self._runners), thread_name_prefix="taskvec-device") as executor:
                yield from executor.map(run, batches)


def _counted(items: Iterable[Item], counts: deque[int]) -> Iterator[Item]:
    """The items, with the number of spans of each added to `counts` as it is read."""
    for item in items:
        counts.append(len(item.spans))
        yield item


def _by_document(block: Vectors, counts: deque[int]) -> Iterator[Vectors]:
    """The rows of a block, those of one document at a time; `counts` has the rows of each document and is used up."""
    row = 0
    while row < len(block) or (counts and not counts[0]):
        count = counts.popleft()
        yield block[row : row + count]
        row += count
