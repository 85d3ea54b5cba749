"""How chunks become Pinecone's records and what they weigh in a request. Knows no connection.

A record's id is `<document id>#<chunk>#<hash>`, the point's id and the hash. A listing by prefix so tells all that the next run
has to know of a document: Pinecone gives metadata out only together with something far bigger, the vectors.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from taskvec_integrations.ingestion.backend import Point
from taskvec_integrations.pinecone import sdk
from taskvec_integrations.pinecone.limits import MAX_ID, check_id, check_metadata

OWN_ID = re.compile(r"(?P<document_id>.+)#\d+#[0-9a-f]{64}", re.DOTALL)
FRAME = len('{"id":,"values":,"metadata":},')
JSON: dict[str, Any] = {} if sdk.VERSION < 8 else {"ensure_ascii": False, "separators": (",", ":")}
SPACES = 2 if sdk.VERSION < 8 else 0  # beside a number: a space, and what an exponent may be longer


def record_id(point: Point) -> str:
    """The id of a chunk's record."""
    return f"{point.id}#{point.hash}"


def point_of(record: str) -> str:
    """The point that a record is of, by id."""
    return record.rpartition("#")[0]


def document_of(point: str) -> str:
    """The document that a point is of, by id."""
    return point.rpartition("#")[0]


def is_of(document_id: str, record: str) -> bool:
    """Whether a store made this record for a chunk of the document."""
    found = OWN_ID.fullmatch(record)
    return found is not None and found["document_id"] == document_id


def hashes(records: Iterable[str]) -> dict[str, str]:
    """{point: hash} of the records of a document; a point with two, which a killed run left behind, has no hash."""
    held: dict[str, str] = {}
    for record in records:
        point, _, hash = record.rpartition("#")
        held[point] = "" if point in held else hash
    return held


def can_name(document_id: str) -> bool:
    """Whether ids of records can begin with this: short ASCII."""
    return document_id.isascii() and "\0" not in document_id and len(document_id) < MAX_ID


def to_record(point: Point) -> dict[str, Any]:
    """The record of a chunk; ValueError or TypeError with the limit where Pinecone does not take it."""
    check_id(point.document_id, "it")
    check_id(record_id(point), "its record")
    check_metadata(point.fields(), "it")
    return {"id": record_id(point), "values": sdk.short_floats(point.vector), "metadata": point.fields()}


def to_fields(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """What `Point.fields` gave, from a record's metadata, in which all numbers are floats."""
    fields = dict(metadata or {})
    return fields | {"chunk": int(fields.get("chunk", 0))}


def weigh(point: Point) -> int:
    """The bytes of a record in a request, to the byte from version 8 of the SDK on; also of one that will be refused."""
    numbers = len(orjson.dumps(point.vector, option=orjson.OPT_SERIALIZE_NUMPY)) + SPACES * len(point.vector)
    return FRAME + len(json.dumps(record_id(point))) + numbers + len(json.dumps(point.fields(), **JSON).encode())
