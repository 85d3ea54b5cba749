"""What there is to do for each document: its chunks with ids and hashes, against what the collection holds of it already.

A hash covers everything a vector depends on, so equal hashes mean that encoding again would change nothing. Knows neither how to
encode nor how to write.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from taskvec import Encoder
from taskvec.integration import Span
from taskvec_integrations.ingestion.backend import Backend, Point, Record, Vector
from taskvec_integrations.ingestion.chunking import split
from taskvec_integrations.ingestion.documents import CheckedDocument

LookUp = Callable[[Sequence[str]], Mapping[str, Mapping[str, str]]]


@dataclass(slots=True, eq=False)
class DocumentDiff:
    """A document on its way: chunks to encode, chunks that only get a new payload, ids of points that it no longer has.

    follows: it was compared with another of its id that was under way, not with the store. failed: the server refused a chunk.
    shrunk: points that it no longer has were deleted.
    """

    source: CheckedDocument
    spans: Sequence[Span]
    ids: Sequence[str]
    hashes: Sequence[str]
    encode: list[int]
    rewrite: list[int]
    stale: list[str]
    follows: bool = field(default=False, init=False)
    failed: bool = field(default=False, init=False)
    shrunk: bool = field(default=False, init=False)

    @property
    def changed(self) -> bool:
        """Whether anything is to be done."""
        return bool(self.encode or self.rewrite or self.stale)

    def chunk_text(self, chunk: int) -> str:
        """The text of one chunk."""
        start, stop = self.spans[chunk]
        return self.source.text[start:stop]

    def point(self, chunk: int, vector: Vector) -> Point:
        """One chunk as it is stored."""
        source = self.source
        return Point(
            id=self.ids[chunk],
            document_id=source.id,
            chunk=chunk,
            text=self.chunk_text(chunk),
            hash=self.hashes[chunk],
            payload=source.payload,
            payload_bytes=len(source.payload_json),
            vector=vector,
        )


class Differ:
    """Compares documents with the collection. Those under way count as stored, so one that comes twice is not encoded twice.

    Called from one thread; `finished` may be called from another.
    """

    def __init__(self, backend: Backend, look_up: LookUp, encoder: Encoder, record: Record, chunk_tokens: int | None) -> None:
        self._backend = backend
        self._look_up = look_up
        self._encoder = encoder
        self._late = record.late_chunking
        self._chunk_tokens = chunk_tokens
        instruction = record.task.instruction if record.task else ""
        self._settings = json.dumps([asdict(record), instruction]).encode()
        self._lock = threading.Lock()
        self._under_way: dict[str, tuple[int, Mapping[str, str]]] = {}

    def __call__(self, sources: Sequence[CheckedDocument]) -> list[DocumentDiff]:
        """DocumentDiff for each document, in order."""
        with self._lock:  # first those under way: what is not among them now is written, and the look-up will see it
            held = {source.id: self._under_way[source.id][1] for source in sources if source.id in self._under_way}
        follows = {*held}
        unknown = list({source.id for source in sources} - held.keys())
        for start in range(0, len(unknown), self._backend.max_lookup):
            held |= self._look_up(unknown[start : start + self._backend.max_lookup])
        diffs = []
        for source, spans in zip(sources, self._spans(sources), strict=True):
            diff, now = self._compare(source, spans, held.get(source.id, {}))
            diff.follows = source.id in follows
            diffs.append(diff)
            held[source.id] = now
            if diff.changed:
                self._start(source.id, now)
                follows.add(source.id)
        return diffs

    def is_alone(self, diff: DocumentDiff) -> bool:
        """Whether no other document of the same id is under way."""
        with self._lock:
            return self._under_way[diff.source.id][0] == 1

    def finished(self, diff: DocumentDiff) -> None:
        """A changed document is written."""
        with self._lock:
            count, now = self._under_way.pop(diff.source.id)
            if count > 1:
                self._under_way[diff.source.id] = count - 1, now

    def _start(self, document_id: str, now: Mapping[str, str]) -> None:
        with self._lock:
            count, _ = self._under_way.get(document_id, (0, {}))
            self._under_way[document_id] = count + 1, now

    def _spans(self, sources: Sequence[CheckedDocument]) -> list[Sequence[Span]]:
        whole = iter(split([source.text for source in sources if source.spans is None], self._encoder, self._chunk_tokens))
        return [next(whole) if source.spans is None else source.spans for source in sources]

    def _compare(
        self, source: CheckedDocument, spans: Sequence[Span], held: Mapping[str, str]
    ) -> tuple[DocumentDiff, dict[str, str]]:
        ids = [self._backend.point_id(source.id, chunk) for chunk in range(len(spans))]
        hashes = self._hashes(source, spans)
        now = dict(zip(ids, hashes, strict=True))
        encode: list[int] = []
        rewrite: list[int] = []
        for chunk, (id, hashed) in enumerate(now.items()):
            if (before := held.get(id, "")) != hashed:
                same_vector = before[:32] == hashed[:32] and self._backend.writes_payloads
                (rewrite if same_vector else encode).append(chunk)
        return DocumentDiff(source, spans, ids, hashes, encode, rewrite, [id for id in held if id not in now]), now

    def _hashes(self, source: CheckedDocument, spans: Sequence[Span]) -> list[str]:
        """For each chunk 32 characters for its vector and 32 for its payload."""
        payload = _digest(source.payload_json)
        if self._late:  # every vector depends on the whole text, and on the spans at its two ends
            return [_digest(self._settings, source.text.encode(), repr(list(spans)).encode()) + payload] * len(spans)
        return [_digest(self._settings, source.text[start:stop].encode()) + payload for start, stop in spans]


def _digest(*parts: bytes) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8) + part)
    return digest.hexdigest()
