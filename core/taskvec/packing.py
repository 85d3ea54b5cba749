"""Batches without padding: which texts run together, and the arrays that say where each one lies.

Knows token ids and lengths, nothing of text or weights. numpy only; `Batch.to` makes the tensors.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

IntArray = NDArray[np.int64]

# Attention costs about length / 6163 of a token's linear layers (24 layers, 1024 wide: 98 kFLOP * length against 0.604 GFLOP),
# so a batch is bounded by its sum of squared lengths too: with this factor a long batch costs at most about twice a short one.
SQUARES_PER_TOKEN = 4096


@dataclass(frozen=True, slots=True)
class Pool:
    """Tokens of one sequence that are averaged into output `row`; `weight` is their share of all the row's tokens."""

    row: int
    tokens: IntArray
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """Token ids the model reads as one text, special tokens included, and what is pooled from them."""

    ids: IntArray
    pools: Sequence[Pool]

    @classmethod
    def whole(cls, ids: IntArray, row: int) -> "TokenSequence":
        """A text whose vector is the mean over all of its tokens."""
        return cls(ids, (Pool(row, np.arange(len(ids))),))


@dataclass(frozen=True)
class Batch:
    """Sequences laid end to end: `lengths` of S sequences with T tokens in all, K pools."""

    sequences: Sequence[TokenSequence]

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each sequence."""
        return tuple(len(sequence.ids) for sequence in self.sequences)

    @property
    def pools(self) -> list[Pool]:
        """All pools in the order of the pooled output."""
        return [pool for sequence in self.sequences for pool in sequence.pools]

    def halves(self) -> tuple["Batch", "Batch"]:
        """Two batches of half the sequences each."""
        middle = len(self.sequences) // 2
        return Batch(self.sequences[:middle]), Batch(self.sequences[middle:])

    def to(self, device: torch.device) -> "PackedTensors":
        """The batch as tensors on `device`; on CUDA from pinned memory without waiting for the copy."""
        starts = np.cumsum([0, *self.lengths])
        pools = [pool.tokens + start for sequence, start in zip(self.sequences, starts, strict=False) for pool in sequence.pools]
        bag_starts = np.cumsum([0, *(len(tokens) for tokens in pools[:-1])])
        arrays = (
            np.concatenate([sequence.ids for sequence in self.sequences]),
            np.concatenate([np.arange(length) for length in self.lengths]),
            starts.astype(np.int32),
            np.concatenate(pools),
            bag_starts,
        )
        tensors = [torch.from_numpy(array) for array in arrays]
        pinned = device.type == "cuda"  # an unpinned source may be gone before a copy that nobody waits for (MPS)
        if pinned:
            tensors = [tensor.pin_memory() for tensor in tensors]
        return PackedTensors(self.lengths, *(tensor.to(device, non_blocking=pinned) for tensor in tensors))


@dataclass(frozen=True)
class PackedTensors:
    """A batch on its device. ids, positions (T,) int64; cu_seqlens (S + 1,) int32; pool_tokens flat, pool_starts (K,).

    `lengths` stays on the host: kernels that take sizes need no synchronization to get them.
    """

    lengths: tuple[int, ...]
    ids: torch.Tensor
    positions: torch.Tensor
    cu_seqlens: torch.Tensor
    pool_tokens: torch.Tensor
    pool_starts: torch.Tensor


@dataclass
class Room:
    """What is left of a batch of at most `max_tokens` tokens and the matching sum of squares."""

    max_tokens: int
    tokens: int = 0
    squares: int = 0

    def take(self, length: int) -> bool:
        """Count one more sequence in if it fits; the first always does, so one longer than the budget is a batch of its own."""
        tokens, squares = self.tokens + length, self.squares + length**2
        if self.tokens and (tokens > self.max_tokens or squares > self.max_tokens * SQUARES_PER_TOKEN):
            return False
        self.tokens, self.squares = tokens, squares
        return True


def pack(sequences: Sequence[TokenSequence], max_tokens: int) -> Iterator[Batch]:
    """Fill batches with the longest sequences first, as far as they have `Room`."""
    batch: list[TokenSequence] = []
    room = Room(max_tokens)
    for sequence in sorted(sequences, key=lambda sequence: -len(sequence.ids)):
        if not room.take(len(sequence.ids)):
            yield Batch(batch)
            batch, room = [], Room(max_tokens)
            room.take(len(sequence.ids))
        batch.append(sequence)
    if batch:
        yield Batch(batch)
