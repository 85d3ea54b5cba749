"""What the actors of a pool do: ingest one part of a dataset after another into the store, as `Store.ingest` does, and report.

Knows stores, not how Ray shares out the parts. Errors travel as values, because Ray would keep only their text.
"""

import hashlib
import pickle
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from numpy.typing import NDArray
from ray.actor import ActorHandle

from taskvec_integrations.ingestion.documents import Document, Input
from taskvec_integrations.ingestion.report import IngestReport
from taskvec_integrations.ray.workers import load_encoder
from taskvec_integrations.ray.writer import Writer, WriterBackend
from taskvec_integrations.store import Store, StoreOptions
from taskvec_integrations.store_url import StoreURL

OUTCOME = "outcome"

Reader = Callable[[pa.Table], Iterable[Input]]
"""How the rows of a dataset become documents."""


@dataclass(frozen=True)
class Opening:
    """All that a process needs to open the store: the same settings everywhere.

    load: how the model is loaded. threads: for torch, on a CPU. writer: who owns the store where it is embedded.
    """

    url: StoreURL
    collection: str
    model: str
    load: Mapping[str, Any]
    threads: int
    options: StoreOptions
    writer: "ActorHandle[Writer] | None" = None

    def __call__(self) -> Store:
        """The store, with the encoder of this process."""
        return self._open({**self.options, "encoder": load_encoder(self.model, self.load, self.threads)})

    def finish(self) -> None:
        """What comes after the last part; loads no model."""
        with self.url.explaining(), self._open(self.options) as store:
            store.finish()

    def _open(self, options: StoreOptions) -> Store:
        if self.writer is None:
            return self.url.open(self.collection, **options)
        return Store(WriterBackend(self.writer), **options)


@dataclass
class Outcome:
    """What became of a part: its report, or the error that ended it. ids: a digest of each id that it had, sorted, once."""

    worker: str
    report: IngestReport = field(default_factory=IngestReport)
    ids: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    error: Exception | None = None


class IngestPart:
    """A worker of the pool: opens the store when it starts, then takes tables of rows."""

    def __init__(self, opening: Opening, read: Reader) -> None:
        self._url = opening.url
        self._read = read
        self._worker = ray.get_runtime_context().get_actor_id() or ""
        self._error: Exception | None = None
        try:
            with self._url.explaining():
                self._store = opening()
                self._store.prepare()
        except Exception as error:  # raised here it would reach the caller as one long text
            self._error = portable(error)

    def __call__(self, table: pa.Table) -> dict[str, list[bytes]]:
        """A row with the pickled outcome."""
        return {OUTCOME: [pickle.dumps(self._outcome(table))]}

    def _outcome(self, table: pa.Table) -> Outcome:
        outcome = Outcome(self._worker, error=self._error)
        if self._error:
            return outcome
        try:
            documents = list(self._read(table))
            outcome.ids = digests(documents)
            with self._url.explaining():
                self._store.ingest_part(documents, report=outcome.report)
        except Exception as error:
            outcome.error = portable(error)
        return outcome


def digests(documents: Iterable[Input]) -> NDArray[np.uint64]:
    """8 bytes for each id that a document came with."""
    ids = {str(document.id) for document in documents if isinstance(document, Document)}
    joined = b"".join(hashlib.blake2b(id.encode("utf-8", "replace"), digest_size=8).digest() for id in ids)
    return np.sort(np.frombuffer(joined, np.uint64))


def portable(error: Exception) -> Exception:
    """An error that another process can read: itself without its traces, else its text."""
    error.__notes__ = []
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
