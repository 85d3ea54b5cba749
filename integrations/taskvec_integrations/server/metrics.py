"""What /metrics shows, in a registry of each app's own: latency, queue, batches, tokens, memory."""

from collections.abc import Callable
from functools import partial

import torch
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from taskvec_integrations.server.request import BARE
from taskvec_integrations.server.scheduler import Ran

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120)
FILL = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1)


class Metrics:
    """Counters and histograms of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._seconds = Histogram(
            "taskvec_request_seconds", "Seconds from a request's head to its answer.", ("route", "task", "status"),
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self._tokens = Counter("taskvec_tokens", "Tokens read, instructions included.", ("task",), registry=self.registry)
        self._texts = Counter("taskvec_texts", "Texts embedded.", ("route", "task"), registry=self.registry)
        self._queue = Histogram(
            "taskvec_queue_seconds", "Seconds a request waited for its first batch.", ("route", "task"),
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self._fill = Histogram(
            "taskvec_batch_fill", "Tokens of a batch as a share of what it may have.", ("task",),
            buckets=FILL, registry=self.registry,
        )  # fmt: skip
        self._waiting = Gauge("taskvec_waiting_tokens", "Tokens in the queue.", registry=self.registry)
        self._memory = Gauge("taskvec_device_memory_bytes", "Memory of tensors.", ("device",), registry=self.registry)
        self._held = Gauge("taskvec_requests_held", "Requests that are not answered yet.", registry=self.registry)

    def request(self, route: str, task: str, status: int, seconds: float, texts: int) -> None:
        """One request was answered."""
        self._seconds.labels(route, task, str(status)).observe(seconds)
        if texts:
            self._texts.labels(route, task).inc(texts)

    def batch(self, ran: Ran) -> None:
        """One batch ran; called in the encoder's thread."""
        task = str(ran.task or BARE)
        self._tokens.labels(task).inc(ran.tokens)
        self._fill.labels(task).observe(ran.fill)
        for route, wait in ran.waits:
            self._queue.labels(route, task).observe(wait)

    def held(self, count: int) -> None:
        """So many requests are not answered yet."""
        self._held.set(count)

    def watch(self, waiting_tokens: Callable[[], float], devices: list[torch.device]) -> None:
        """Show the queue and the memory of accelerators, asked for when somebody looks."""
        self._waiting.set_function(waiting_tokens)
        for device in devices:
            if device.type == "cuda":
                self._memory.labels(str(device)).set_function(partial(torch.cuda.memory_allocated, device))
