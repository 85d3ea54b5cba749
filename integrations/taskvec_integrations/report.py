"""What an ingest did, document by document and chunk by chunk."""

from dataclasses import dataclass, field
from typing import NamedTuple


class Failure(NamedTuple):
    """A document that did not land whole, the chunk it was about (None: all of it) and why."""

    document_id: str
    reason: str
    chunk: int | None = None


@dataclass
class Counts:
    """Documents or chunks: read, of those skipped because nothing changed, encoded, written, failed; deleted because they went.

    Documents are read = skipped + written + failed once a run is over (the rest was under way when it was cut short); `deleted`
    counts those that lost chunks.
    """

    read: int = 0
    skipped: int = 0
    encoded: int = 0
    written: int = 0
    failed: int = 0
    deleted: int = 0


@dataclass
class IngestReport:
    """What a run did so far; print it. `failed` names every document that did not land whole, with its reason.

    truncated: chunks cut at the model's context. retries: requests sent again. seconds_encoding, seconds_uploading: the two
    overlap, so they can add up to more than `seconds`, the wall clock. most_waiting: the most chunks that were encoded and not
    yet written at one time, which is what a killed run has to encode again.
    """

    documents: Counts = field(default_factory=Counts)
    chunks: Counts = field(default_factory=Counts)
    failed: list[Failure] = field(default_factory=list)
    truncated: int = 0
    retries: int = 0
    most_waiting: int = 0
    seconds: float = 0.0
    seconds_encoding: float = 0.0
    seconds_uploading: float = 0.0

    def __str__(self) -> str:
        raise NotImplementedError
