"""What users hand to a store, read and checked one document at a time: Document, pairs and plain texts become CheckedDocuments.

A document that cannot be used is an error with its reason; nothing here knows tokens or databases.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

from taskvec.integration import Span, check_spans, check_text, join_chunks
from taskvec_integrations.ingestion.backend import FIELDS


@dataclass(frozen=True)
class Document:
    """A text to store: as it is (split where it is long), with the character spans of its chunks, or as its chunks.

    id: a str, or an int (which counts as its digits), that stays the same when the document changes. payload: JSON stored with
    every chunk. Nothing is checked before it is ingested, so that a bad document ends up in the report and not in the middle
    of a generator.
    """

    id: str | int
    text: str | None = None
    chunks: Sequence[str] | None = None
    spans: Sequence[Span] | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What a reader of files could make no document of (a line that is no JSON): it fails under this name, the others land."""

    name: str
    reason: str


Input = Document | str | tuple[str | int, str] | Unreadable
"""What can be ingested: a document, a text, or an id and a text; and what stands where one could not be read."""


@dataclass(frozen=True, slots=True)
class CheckedDocument:
    """A checked document: `spans` are those of its chunks in `text`, None where it is still to be split."""

    id: str
    text: str
    spans: Sequence[Span] | None
    payload: dict[str, Any]
    payload_json: bytes


def read_document(given: object) -> CheckedDocument:
    """One document of the input; TypeError or ValueError with the reason where it cannot be used."""
    document = _as_document(given)
    text, spans = _read_text(document)
    payload, payload_json = _read_payload(document.payload)
    return CheckedDocument(str(document.id), text, spans, payload, payload_json)


def name_of(given: object, position: int) -> str:
    """How a report names an input that could not be read: its id where it has one, else its place."""
    if isinstance(given, Unreadable):
        return given.name
    candidate = given.id if isinstance(given, Document) else given[0] if isinstance(given, tuple) and given else None
    if isinstance(candidate, str | Integral) and candidate != "":
        return str(candidate).encode("utf-8", "backslashreplace").decode()
    return f"document {position} of the input"


def content_id(text: str) -> str:
    """The id of a text that came without one: equal texts are one document."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _as_document(given: object) -> Document:
    if isinstance(given, Unreadable):
        raise ValueError(given.reason)
    if isinstance(given, str):
        given = Document(content_id(check_text(given, "its text")), given)
    elif isinstance(given, tuple) and len(given) == 2:
        given = Document(*given)
    if not isinstance(given, Document):
        raise TypeError(f"it is of type {type(given).__name__}: a Document, a str or a pair (id, text) was expected")
    if not isinstance(given.id, str | Integral) or isinstance(given.id, bool) or given.id == "":
        raise TypeError(f"its id is {given.id!r}: a str that is not empty, or an int, was expected")
    check_text(str(given.id), "its id")
    return given


def _read_text(document: Document) -> tuple[str, Sequence[Span] | None]:
    if (document.text is None) == (document.chunks is None):
        both = "both text and chunks" if document.chunks is not None else "neither text nor chunks"
        raise ValueError(f"it has {both}: give its text, its text with spans, or its chunks")
    if document.chunks is not None:
        if document.spans is not None:
            raise ValueError("it has both chunks and spans: spans go with a text")
        return join_chunks([check_text(chunk, f"chunk {number}") for number, chunk in enumerate(_listed(document.chunks))], "")
    text = check_text(document.text, "its text")
    if document.spans is not None:
        return text, check_spans(_listed(document.spans), text, "in its text")
    if not text.strip():
        raise ValueError("its text is empty or blank")
    return text, None


def _listed(given: Any) -> Sequence[Any]:
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise TypeError(f"its chunks or spans are {given!r}: a list was expected")
    if not (listed := list(given)):
        raise ValueError("it has an empty list of chunks or spans")
    return listed


def _read_payload(payload: object) -> tuple[dict[str, Any], bytes]:
    if not isinstance(payload, Mapping) or not all(isinstance(key, str) for key in payload):
        raise TypeError(f"its payload is {type(payload).__name__}: a mapping with str keys was expected")
    if taken := set(FIELDS) & set(payload):
        raise ValueError(f"its payload has the key {min(taken)!r}, which is used for the store's own: rename it")
    own = dict(payload)
    try:
        return own, _json(own)
    except (TypeError, ValueError) as error:
        key = next((key for key, value in own.items() if not _is_json(value)), None)
        raise ValueError(f"its payload is not JSON: {f'{key!r}: ' if key is not None else ''}{error}") from None


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()


def _is_json(value: object) -> bool:
    try:
        _json(value)
    except (TypeError, ValueError):
        return False
    return True
