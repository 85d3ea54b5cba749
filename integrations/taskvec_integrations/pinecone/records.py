"""How chunks become Pinecone's records, and how many bytes those take in a request. Knows no connection.

The id of a record is `<document id>#<chunk>#<hash>`: the id of the point, then the hash. A listing by prefix therefore tells
everything that the next run has to know of a document. Pinecone returns metadata only together with the far bigger vectors.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from taskvec.integration import Vectors
from taskvec_integrations.ingestion.points import Point
from taskvec_integrations.pinecone.limits import MAX_ID_CHARACTERS, check_id, check_metadata

RECORD_ID = re.compile(r"(?P<document_id>.+)#\d+#[0-9a-f]{64}", re.DOTALL)
FRAME_BYTES = len('{"id":,"values":,"metadata":},')


def short_floats(vectors: Vectors) -> list[Any]:
    """Float32 vectors as lists of the shortest decimal numbers that read back as the same float32.

    1024 of them take 13 KB of JSON. The same values written out as float64 take 22 KB.
    """
    numbers: list[Any] = orjson.loads(orjson.dumps(vectors, option=orjson.OPT_SERIALIZE_NUMPY))
    return numbers


def record_id(point: Point) -> str:
    """The id of a chunk's record."""
    return f"{point.id}#{point.hash}"


def point_id_of(record_id: str) -> str:
    """The id of the point that a record holds."""
    return record_id.rpartition("#")[0]


def document_id_of(point_id: str) -> str:
    """The id of the document that a point belongs to."""
    return point_id.rpartition("#")[0]


def is_record_of(document_id: str, record_id: str) -> bool:
    """Whether a store wrote this record for a chunk of the document."""
    match = RECORD_ID.fullmatch(record_id)
    return match is not None and match["document_id"] == document_id


def hashes_by_point(record_ids: Iterable[str]) -> dict[str, str]:
    """{point id: hash} of a document's records; the hash is "" for a point with two records, which a killed run left behind."""
    hashes: dict[str, str] = {}
    for record_id in record_ids:
        point_id, _, hash = record_id.rpartition("#")
        hashes[point_id] = "" if point_id in hashes else hash
    return hashes


def can_prefix_ids(document_id: str) -> bool:
    """Whether the ids of records can begin with this document id: it is short and ASCII."""
    return document_id.isascii() and "\0" not in document_id and len(document_id) < MAX_ID_CHARACTERS


def to_record(point: Point) -> dict[str, Any]:
    """The record of a chunk; ValueError or TypeError with the limit where Pinecone would refuse it."""
    check_id(point.document_id, "it")
    check_id(record_id(point), "its record")
    check_metadata(point.fields(), "it")
    return {"id": record_id(point), "values": short_floats(point.vector), "metadata": point.fields()}


def to_fields(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """The fields that `Point.fields` returned, from a record's metadata, where every number is a float."""
    fields = dict(metadata or {})
    return fields | {"chunk": int(fields.get("chunk", 0))}


def weigh(point: Point) -> int:
    """The exact bytes of a record in a request; also works for a record that Pinecone will refuse."""
    vector = len(orjson.dumps(point.vector, option=orjson.OPT_SERIALIZE_NUMPY))
    metadata = json.dumps(point.fields(), ensure_ascii=False, separators=(",", ":")).encode()
    return FRAME_BYTES + len(json.dumps(record_id(point))) + vector + len(metadata)
