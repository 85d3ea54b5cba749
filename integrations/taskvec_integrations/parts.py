"""What the actors of a pool do: ingest one part of a dataset after another into the store, as `Store.ingest` does, and report.

Knows stores and rows, not how Ray shares out the parts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from ray.actor import ActorHandle

from taskvec_integrations.ray.workers import load_encoder
from taskvec_integrations.ray.writer import Writer, WriterEngine
from taskvec_integrations.report import IngestReport
from taskvec_integrations.store import Store, StoreOptions
from taskvec_integrations.store_url import StoreURL


@dataclass(frozen=True)
class Opening:
    """All that a process needs to open the store: the same settings everywhere. writer: who owns it where it is embedded."""

    url: StoreURL
    collection: str
    model: str
    load: Mapping[str, Any]
    options: StoreOptions
    writer: ActorHandle[Writer] | None = None

    def __call__(self) -> Store:
        """The store, with the encoder of this process."""
        options: StoreOptions = {**self.options, "encoder": load_encoder(self.model, self.load)}
        if self.writer is None:
            return self.url.open(self.collection, **options)
        return Store(WriterEngine(self.writer), **options)


@dataclass
class Outcome:
    """What became of a part: its report, or the error that ended it. ids: digests of those it had, each once."""

    report: IngestReport = field(default_factory=IngestReport)
    worker: str = ""
    ids: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    error: Exception | None = None


class Rows(NamedTuple):
    """Rows of a dataset, one table after another, read as documents."""

    read: Any
