"""What the actors of a pool do: ingest one part of a dataset after another into the store, as `Store.ingest` does, and report.

Knows stores, not how Ray distributes the parts. Errors travel as values, because Ray would keep only their text.
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
from taskvec_integrations.ray.writer import RemoteBackend, StoreWriter
from taskvec_integrations.store import Store, StoreOptions
from taskvec_integrations.store_url import StoreURL

RESULT_COLUMN = "result"

Reader = Callable[[pa.Table], Iterable[Input]]
"""Turns rows of a dataset into documents."""


@dataclass(frozen=True)
class StoreConfig:
    """All that a process needs to open the store: the same settings everywhere.

    Attributes:
        url: The database.
        collection: The collection in it.
        model: The name of the model.
        load: How the model is loaded.
        threads: Threads of torch, on a CPU.
        options: The options of the store beside the encoder.
        writer: The actor that has the store open where it is embedded.
    """

    url: StoreURL
    collection: str
    model: str
    load: Mapping[str, Any]
    threads: int
    options: StoreOptions
    writer: "ActorHandle[StoreWriter] | None" = None

    def open(self) -> Store:
        """Open the store with the encoder of this process."""
        return self._open({**self.options, "encoder": load_encoder(self.model, self.load, self.threads)})

    def finish(self) -> None:
        """Do what comes after the last part; loads no model."""
        with self.url.explaining(), self._open(self.options) as store:
            store.finish()

    def _open(self, options: StoreOptions) -> Store:
        if self.writer is None:
            return self.url.open(self.collection, **options)
        return Store(RemoteBackend(self.writer), **options)


@dataclass
class PartResult:
    """What became of a part.

    Attributes:
        worker: The actor that did it.
        report: What was done.
        ids: A digest of each id that the part had, sorted, without repetitions.
        error: What ended the part early.
    """

    worker: str
    report: IngestReport = field(default_factory=IngestReport)
    ids: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    error: Exception | None = None


class IngestPart:
    """A worker of the pool, for `Dataset.map_batches`: opens the store when it starts, then takes tables of rows.

    Args:
        config: How to open the store.
        read: Turns rows into documents.
    """

    def __init__(self, config: StoreConfig, read: Reader) -> None:
        self._url = config.url
        self._read = read
        self._worker = ray.get_runtime_context().get_actor_id() or ""
        self._error: Exception | None = None
        try:
            with self._url.explaining():
                self._store = config.open()
                self._store.prepare()
        except Exception as error:  # Ray would turn an error raised here into one long text
            self._error = make_portable(error)

    def __call__(self, table: pa.Table) -> dict[str, list[bytes]]:
        """Ingest a table; returns a row with the pickled PartResult."""
        return {RESULT_COLUMN: [pickle.dumps(self._ingest(table))]}

    def _ingest(self, table: pa.Table) -> PartResult:
        result = PartResult(self._worker, error=self._error)
        if self._error:
            return result
        try:
            documents = list(self._read(table))
            result.ids = digest_ids(documents)
            with self._url.explaining():
                self._store.ingest_part(documents, report=result.report)
        except Exception as error:
            result.error = make_portable(error)
        return result


def digest_ids(documents: Iterable[Input]) -> NDArray[np.uint64]:
    """Eight bytes for each id that documents came with, sorted, without repetitions."""
    ids = {str(document.id) for document in documents if isinstance(document, Document)}
    joined = b"".join(hashlib.blake2b(id.encode("utf-8", "replace"), digest_size=8).digest() for id in ids)
    return np.sort(np.frombuffer(joined, np.uint64))


def make_portable(error: Exception) -> Exception:
    """An error that another process can read: the error without its notes, or its text where it cannot be pickled."""
    error.__notes__ = []
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
