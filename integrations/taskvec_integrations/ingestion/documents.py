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
from taskvec_integrations.ingestion.points import FIELDS


@dataclass(frozen=True)
class Document:
    """A text to store: with `text` alone it is split where it is long; with `spans` or `chunks` its chunks are those.

    Nothing is checked before it is ingested, so that a bad document ends up in the report and not in the middle of a generator.

    Args:
        id: A str, or an int (which counts as its digits), that stays the same when the document changes.
        text: The whole text; leave it out where `chunks` are given.
        chunks: The texts of the chunks, in order; none may be empty.
        spans: For each chunk its (start, stop) in characters of `text`.
        payload: JSON with str keys, stored with every chunk; the keys of the store's own fields are refused.

    Example:
        >>> Document("berlin", chunks=["Berlin is a city.", "It lies on the Spree."], payload={"kind": "city"})
    """

    id: str | int
    text: str | None = None
    chunks: Sequence[str] | None = None
    spans: Sequence[Span] | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What a reader of files could not make a document of, such as a line that is not JSON: it fails under this name."""

    name: str
    reason: str


Input = Document | str | tuple[str | int, str] | Unreadable
"""What can be ingested: a document, a text, or a pair of id and text; an Unreadable stands where none could be read."""


@dataclass(frozen=True, slots=True)
class CheckedDocument:
    """A document that can be used.

    Args:
        id: The document's id as text.
        text: The whole text, joined from the chunks where those were given.
        spans: The spans of its chunks in `text`, None where it is still to be split.
        payload: The user's payload.
        payload_json: `payload` as JSON in UTF-8, with sorted keys.
    """

    id: str
    text: str
    spans: Sequence[Span] | None
    payload: dict[str, Any]
    payload_json: bytes


def read_document(value: object) -> CheckedDocument:
    """Check one document of the input.

    Raises:
        TypeError, ValueError: It cannot be used; the message is the reason, as the report shows it.
    """
    document = _as_document(value)
    text, spans = _read_text(document)
    payload, payload_json = _read_payload(document.payload)
    return CheckedDocument(str(document.id), text, spans, payload, payload_json)


def name_of(value: object, position: int) -> str:
    """How a report names an input that could not be read: its id where it has one, else its place."""
    if isinstance(value, Unreadable):
        return value.name
    candidate = value.id if isinstance(value, Document) else value[0] if isinstance(value, tuple) and value else None
    if isinstance(candidate, str | Integral) and candidate != "":
        return str(candidate).encode("utf-8", "backslashreplace").decode()
    return f"document {position} of the input"


def content_id(text: str) -> str:
    """The id of a text that came without one: equal texts are one document."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _as_document(value: object) -> Document:
    if isinstance(value, Unreadable):
        raise ValueError(value.reason)
    if isinstance(value, str):
        value = Document(content_id(check_text(value, "its text")), value)
    elif isinstance(value, tuple) and len(value) == 2:
        value = Document(*value)
    if not isinstance(value, Document):
        raise TypeError(f"it is of type {type(value).__name__}: a Document, a str or a pair (id, text) was expected")
    if not isinstance(value.id, str | Integral) or isinstance(value.id, bool) or value.id == "":
        raise TypeError(f"its id is {value.id!r}: a str that is not empty, or an int, was expected")
    check_text(str(value.id), "its id")
    return value


def _read_text(document: Document) -> tuple[str, Sequence[Span] | None]:
    if (document.text is None) == (document.chunks is None):
        both = "both text and chunks" if document.chunks is not None else "neither text nor chunks"
        raise ValueError(f"it has {both}: give its text, its text with spans, or its chunks")
    if document.chunks is not None:
        if document.spans is not None:
            raise ValueError("it has both chunks and spans: spans go with a text")
        return join_chunks([check_text(chunk, f"chunk {number}") for number, chunk in enumerate(_as_list(document.chunks))], "")
    text = check_text(document.text, "its text")
    if document.spans is not None:
        return text, check_spans(_as_list(document.spans), text, "in its text")
    if not text.strip():
        raise ValueError("its text is empty or blank")
    return text, None


def _as_list(value: Any) -> Sequence[Any]:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise TypeError(f"its chunks or spans are {value!r}: a list was expected")
    if not (items := list(value)):
        raise ValueError("it has an empty list of chunks or spans: leave it out to have its text split")
    return items


def _read_payload(payload: object) -> tuple[dict[str, Any], bytes]:
    if not isinstance(payload, Mapping) or not all(isinstance(key, str) for key in payload):
        raise TypeError(f"its payload is {type(payload).__name__}: a mapping with str keys was expected")
    if reserved := set(FIELDS) & set(payload):
        raise ValueError(f"its payload has the key {min(reserved)!r}, which is used for the store's own: rename it")
    copied = dict(payload)
    try:
        return copied, _json(copied)
    except (TypeError, ValueError) as error:
        key = next((key for key, value in copied.items() if not _is_json(value)), None)
        raise ValueError(f"its payload is not JSON: {f'{key!r}: ' if key is not None else ''}{error}") from None


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()


def _is_json(value: object) -> bool:
    try:
        _json(value)
    except (TypeError, ValueError):
        return False
    return True
