"""One device at work: runs packed batches of any task there, in halves where memory is short. Knows no text."""

import contextlib
import logging
import threading

import numpy as np
import torch

from taskvec.adapters import Bodies
from taskvec.devices import release_cache
from taskvec.model import Body, Transformer
from taskvec.packing import Batch
from taskvec.pooling import Vectors, mean_pool
from taskvec.tasks import Task

MEMORY_ADVICE = "use dtype='bfloat16', max_bodies=1, merge_adapters=False, a smaller max_batch_tokens or another device"

log = logging.getLogger("taskvec")


class Runner:
    """A transformer and its task bodies on one device. Safe to share between threads.

    On an accelerator batches take turns, so that its memory holds one of them at a time.

    Args:
        transformer: The architecture.
        bodies: The weights of each task.
        device: Where both are.
        dtype: That of the weights.
    """

    def __init__(self, transformer: Transformer, bodies: Bodies, device: torch.device, dtype: torch.dtype) -> None:
        self.device = device
        self.dtype = dtype
        self._transformer = transformer
        self._bodies = bodies
        self._turn = contextlib.nullcontext() if device.type == "cpu" else threading.Lock()

    def run(self, batch: Batch, task: Task | None, dimensions: int) -> Vectors:
        """Run a batch, in halves where it does not fit the free memory.

        Args:
            batch: Sequences of one task, with K pools.
            task: Whose weights are used; None for the bare model.
            dimensions: The first so many of the width are pooled.

        Returns:
            (K, dimensions) float32 in the order of `batch.pools`: the mean of each pool's tokens, not normalized.

        Raises:
            MemoryError: The weights of the task, or a single sequence, do not fit the free memory of the device.
        """
        try:
            body = self._bodies.get(task)
        except torch.OutOfMemoryError as error:
            raise MemoryError(
                f"the weights of another task do not fit into the free memory of {self.device}: {MEMORY_ADVICE}"
            ) from error
        return self._in_halves(batch, body, dimensions)

    def _in_halves(self, batch: Batch, body: Body, dimensions: int) -> Vectors:
        try:
            with self._turn:
                return self._forward(batch, body, dimensions)
        except torch.OutOfMemoryError as error:
            if len(batch.sequences) == 1:
                raise MemoryError(
                    f"one sequence of {batch.lengths[0]} tokens does not fit into the free memory of {self.device}: "
                    f"{MEMORY_ADVICE}"
                ) from error
            log.warning("Out of memory on %s with a batch of %d tokens; trying it in halves", self.device, sum(batch.lengths))
        release_cache(self.device)
        return np.concatenate([self._in_halves(half, body, dimensions) for half in batch.halves()])

    @torch.inference_mode()
    def _forward(self, batch: Batch, body: Body, dimensions: int) -> Vectors:
        packed = batch.to(self.device)
        hidden = self._transformer(body, packed)
        pooled: Vectors = mean_pool(hidden, packed, dimensions).cpu().numpy()
        return pooled
