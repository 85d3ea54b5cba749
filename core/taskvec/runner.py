"""One device at work: runs packed batches of any task there, in halves where memory is short. Knows no text."""

import contextlib
import logging
import threading

import numpy as np
import torch

from taskvec.adapters import Bodies
from taskvec.model import Transformer
from taskvec.packing import Batch
from taskvec.pooling import Vectors, mean_pool
from taskvec.tasks import Task

log = logging.getLogger("taskvec")


class Runner:
    """A transformer and its task bodies on one device. Safe to call from several threads.

    On an accelerator batches take turns, so that its memory holds one of them at a time.
    """

    def __init__(self, transformer: Transformer, bodies: Bodies, device: torch.device, dtype: torch.dtype) -> None:
        self.device = device
        self.dtype = dtype
        self._transformer = transformer
        self._bodies = bodies
        self._turn = contextlib.nullcontext() if device.type == "cpu" else threading.Lock()

    def __call__(self, batch: Batch, task: Task | None, dimensions: int) -> Vectors:
        """The pooled vectors of a batch, not normalised: (K, dimensions) float32 in the order of `batch.pools`."""
        try:
            with self._turn:
                return self._run(batch, task, dimensions)
        except torch.OutOfMemoryError as error:
            if len(batch.sequences) == 1:
                raise MemoryError(
                    f"one sequence of {batch.lengths[0]} tokens does not fit the free memory of {self.device}: use "
                    "dtype='bfloat16', max_bodies=1, merge_adapters=False or another device"
                ) from error
            log.warning("Out of memory on %s with %d tokens; trying halves", self.device, sum(batch.lengths))
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return np.concatenate([self(half, task, dimensions) for half in batch.halves()])

    @torch.inference_mode()
    def _run(self, batch: Batch, task: Task | None, dimensions: int) -> Vectors:
        packed = batch.to(self.device)
        hidden = self._transformer(self._bodies.get(task), packed)
        pooled: Vectors = mean_pool(hidden, packed, dimensions).cpu().numpy()
        return pooled
