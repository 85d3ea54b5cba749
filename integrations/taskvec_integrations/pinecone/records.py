"""How chunks become Pinecone's records and what they weigh in a request. Knows no connection.

A record's id is `<document id>#<chunk>#<hash>`. A listing by prefix so tells all that the next run has to know of a document:
Pinecone gives metadata out only together with something far bigger, the vectors.
"""

import json
import re
from typing import Any

import orjson

from taskvec_integrations.engine import Point
from taskvec_integrations.pinecone import sdk
from taskvec_integrations.pinecone.limits import MAX_ID, check_id, check_metadata

OWN_ID = re.compile(r"(?P<document_id>.+)#\d+#[0-9a-f]{64}", re.DOTALL)
FRAME = len('{"id":,"values":,"metadata":},')
JSON: dict[str, Any] = {} if sdk.VERSION < 8 else {"ensure_ascii": False, "separators": (",", ":")}
SPACES = 2 if sdk.VERSION < 8 else 0  # beside a number: a space, and what an exponent may be longer


def record_id(document_id: str, chunk: int, hash: str) -> str:
    """The id of a chunk's record."""
    return f"{document_id}#{chunk}#{hash}"


def document_of(id: str) -> str:
    """The document whose chunk a record is; empty where no store has made it."""
    found = OWN_ID.fullmatch(id)
    return found["document_id"] if found else ""


def hash_of(id: str) -> str:
    """The hash in the id of a record that a store has made."""
    return id.rpartition("#")[2]


def can_name(document_id: str) -> bool:
    """Whether ids of records can begin with this: short ASCII."""
    return document_id.isascii() and "\0" not in document_id and len(document_id) < MAX_ID


def to_record(point: Point) -> dict[str, Any]:
    """The record of a chunk; ValueError or TypeError with the limit where Pinecone does not take it."""
    check_id(point.document_id, "it")
    check_id(point.id, "its record")
    check_metadata(point.fields(), "it")
    return {"id": point.id, "values": sdk.short_floats(point.vector), "metadata": point.fields()}


def weigh(point: Point) -> int:
    """The bytes of a record in a request, to the byte from version 8 of the SDK on; also of one that will be refused."""
    numbers = len(orjson.dumps(point.vector, option=orjson.OPT_SERIALIZE_NUMPY)) + SPACES * len(point.vector)
    return FRAME + len(json.dumps(point.id)) + numbers + len(json.dumps(point.fields(), **JSON).encode())
