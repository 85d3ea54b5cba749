"""What /metrics shows: latency, queue, batches, tokens and memory, in one registry for each app."""

from collections.abc import Callable
from functools import partial

import torch
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from taskvec_integrations.server.request import BARE_MODEL
from taskvec_integrations.server.scheduler import BatchStats

SECONDS_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120)
FILL_BUCKETS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1)


class Metrics:
    """Counters and histograms of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._request_seconds = Histogram(
            "taskvec_request_seconds", "Seconds from the head of a request to its response.", ("route", "task", "status"),
            buckets=SECONDS_BUCKETS, registry=self.registry,
        )  # fmt: skip
        self._tokens = Counter("taskvec_tokens", "Tokens read, instructions included.", ("task",), registry=self.registry)
        self._texts = Counter("taskvec_texts", "Texts embedded.", ("route", "task"), registry=self.registry)
        self._queue_seconds = Histogram(
            "taskvec_queue_seconds", "Seconds a request waited for its first batch.", ("route", "task"),
            buckets=SECONDS_BUCKETS, registry=self.registry,
        )  # fmt: skip
        self._batch_fill = Histogram(
            "taskvec_batch_fill", "Tokens of a batch as a share of a full batch.", ("task",),
            buckets=FILL_BUCKETS, registry=self.registry,
        )  # fmt: skip
        self._waiting_tokens = Gauge("taskvec_waiting_tokens", "Tokens in the queue.", registry=self.registry)
        self._device_memory = Gauge(
            "taskvec_device_memory_bytes", "Memory of tensors on a device.", ("device",), registry=self.registry
        )
        self._open_requests = Gauge(
            "taskvec_requests_held", "Requests with a body that have no response yet.", registry=self.registry
        )

    def observe_request(self, route: str, task: str, status: int, seconds: float, texts: int) -> None:
        """Count a request that has its response."""
        self._request_seconds.labels(route, task, str(status)).observe(seconds)
        if texts:
            self._texts.labels(route, task).inc(texts)

    def observe_batch(self, batch: BatchStats) -> None:
        """Count a batch that ran; called in the encoder's thread."""
        task = str(batch.task or BARE_MODEL)
        self._tokens.labels(task).inc(batch.tokens)
        self._batch_fill.labels(task).observe(batch.fill)
        for route, wait in batch.waits:
            self._queue_seconds.labels(route, task).observe(wait)

    def set_open_requests(self, count: int) -> None:
        """Show how many requests with a body have no response yet."""
        self._open_requests.set(count)

    def watch(self, waiting_tokens: Callable[[], float], devices: list[torch.device]) -> None:
        """Show the queue and the memory of accelerators, read whenever /metrics is."""
        self._waiting_tokens.set_function(waiting_tokens)
        for device in devices:
            if device.type == "cuda":
                self._device_memory.labels(str(device)).set_function(partial(torch.cuda.memory_allocated, device))
