"""What changed of each document: its chunks with ids and hashes, against what the collection holds of it already.

A hash covers everything that a vector depends on, so equal hashes mean that encoding again would change nothing. Knows neither
how to encode nor how to write.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from taskvec import Encoder
from taskvec.integration import Span
from taskvec_integrations.ingestion.backend import Backend
from taskvec_integrations.ingestion.chunking import split
from taskvec_integrations.ingestion.documents import CheckedDocument
from taskvec_integrations.ingestion.points import Point, Record, Vector

LookUp = Callable[[Sequence[str]], Mapping[str, Mapping[str, str]]]
"""`Backend.stored`, with retries."""

VECTOR_HASH_CHARACTERS = 32
"""How many characters at the start of a hash cover the vector; the others cover the payload."""


@dataclass(slots=True, eq=False)
class DocumentDiff:
    """A document and how it differs from what is stored of it.

    Args:
        document: The document.
        spans: The character span of each of its chunks.
        ids: The point id of each chunk.
        hashes: The hash of each chunk.
        chunks_to_encode: The chunks, by place, that are encoded and written.
        chunks_with_new_payload: The chunks, by place, whose vector stays and whose payload is written.
        stale_ids: Points in the database that the document no longer has.

    Attributes:
        follows_pending: It was compared with a document of the same id that is not written yet, not with the database.
        failed: The server refused one of its chunks.
        has_deletions: Points that it no longer has were deleted.
    """

    document: CheckedDocument
    spans: Sequence[Span]
    ids: Sequence[str]
    hashes: Sequence[str]
    chunks_to_encode: list[int]
    chunks_with_new_payload: list[int]
    stale_ids: list[str]
    follows_pending: bool = field(default=False, init=False)
    failed: bool = field(default=False, init=False)
    has_deletions: bool = field(default=False, init=False)

    @property
    def has_changes(self) -> bool:
        """Whether anything is to be done."""
        return bool(self.chunks_to_encode or self.chunks_with_new_payload or self.stale_ids)

    def chunk_text(self, chunk: int) -> str:
        """The text of one chunk."""
        start, stop = self.spans[chunk]
        return self.document.text[start:stop]

    def point(self, chunk: int, vector: Vector) -> Point:
        """One chunk as it is stored."""
        document = self.document
        return Point(
            id=self.ids[chunk],
            document_id=document.id,
            chunk=chunk,
            text=self.chunk_text(chunk),
            hash=self.hashes[chunk],
            payload=document.payload,
            payload_bytes=len(document.payload_json),
            vector=vector,
        )


class Differ:
    """Compares documents with the collection. Pending ones count as stored, so a document that comes twice is encoded once.

    A document is pending from `compare` until `mark_written`. `compare` is called from one thread, `mark_written` from any.
    """

    def __init__(self, backend: Backend, look_up: LookUp, encoder: Encoder, record: Record, chunk_tokens: int | None) -> None:
        self._backend = backend
        self._look_up = look_up
        self._encoder = encoder
        self._late_chunking = record.late_chunking
        self._chunk_tokens = chunk_tokens
        instruction = record.task.instruction if record.task else ""
        self._settings = json.dumps([asdict(record), instruction]).encode()
        self._lock = threading.Lock()
        self._pending: dict[str, tuple[int, Mapping[str, str]]] = {}  # by document id: how many, and the hashes of the last

    def compare(self, documents: Sequence[CheckedDocument]) -> list[DocumentDiff]:
        """The difference of each document to what is stored, in order."""
        with self._lock:  # first the pending ones: what is not among them now is written, and the look-up will see it
            stored = {document.id: self._pending[document.id][1] for document in documents if document.id in self._pending}
        pending_ids = {*stored}
        unknown_ids = list({document.id for document in documents} - stored.keys())
        for start in range(0, len(unknown_ids), self._backend.max_lookup):
            stored |= self._look_up(unknown_ids[start : start + self._backend.max_lookup])
        diffs = []
        for document, spans in zip(documents, self._spans(documents), strict=True):
            diff = self._diff(document, spans, stored.get(document.id, {}))
            diff.follows_pending = document.id in pending_ids
            diffs.append(diff)
            stored[document.id] = hashes = dict(zip(diff.ids, diff.hashes, strict=True))
            if diff.has_changes:
                self._mark_pending(document.id, hashes)
                pending_ids.add(document.id)
        return diffs

    def is_only_pending(self, diff: DocumentDiff) -> bool:
        """Whether no other document of the same id is pending."""
        with self._lock:
            return self._pending[diff.document.id][0] == 1

    def mark_written(self, diff: DocumentDiff) -> None:
        """A pending document is written, or failed."""
        with self._lock:
            count, hashes = self._pending.pop(diff.document.id)
            if count > 1:
                self._pending[diff.document.id] = count - 1, hashes

    def _mark_pending(self, document_id: str, hashes: Mapping[str, str]) -> None:
        with self._lock:
            count, _ = self._pending.get(document_id, (0, {}))
            self._pending[document_id] = count + 1, hashes

    def _spans(self, documents: Sequence[CheckedDocument]) -> list[Sequence[Span]]:
        texts = [document.text for document in documents if document.spans is None]
        split_spans = iter(split(texts, self._encoder, self._chunk_tokens))
        return [next(split_spans) if document.spans is None else document.spans for document in documents]

    def _diff(self, document: CheckedDocument, spans: Sequence[Span], stored: Mapping[str, str]) -> DocumentDiff:
        ids = [self._backend.point_id(document.id, chunk) for chunk in range(len(spans))]
        hashes = self._hashes(document, spans)
        to_encode: list[int] = []
        new_payload: list[int] = []
        for chunk, (id, new) in enumerate(zip(ids, hashes, strict=True)):
            if (old := stored.get(id, "")) != new:
                same_vector = old[:VECTOR_HASH_CHARACTERS] == new[:VECTOR_HASH_CHARACTERS]
                (new_payload if same_vector and self._backend.writes_payloads else to_encode).append(chunk)
        current_ids = {*ids}
        stale_ids = [id for id in stored if id not in current_ids]
        return DocumentDiff(document, spans, ids, hashes, to_encode, new_payload, stale_ids)

    def _hashes(self, document: CheckedDocument, spans: Sequence[Span]) -> list[str]:
        """For each chunk 32 characters for its vector and 32 for its payload."""
        payload = _digest(document.payload_json)
        if self._late_chunking:  # every vector depends on the whole text, and on the spans at its two ends
            return [_digest(self._settings, document.text.encode(), repr(list(spans)).encode()) + payload] * len(spans)
        return [_digest(self._settings, document.text[start:stop].encode()) + payload for start, stop in spans]


def _digest(*parts: bytes) -> str:
    digest = hashlib.blake2b(digest_size=VECTOR_HASH_CHARACTERS // 2)
    for part in parts:
        digest.update(len(part).to_bytes(8) + part)
    return digest.hexdigest()
