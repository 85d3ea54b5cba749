"""What is stored of a chunk and read back: Point, Hit, Record, their ids and the names of their fields. Knows no database."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from taskvec import Task

Vector = NDArray[np.float32]

METRIC = "cosine"
BARE = "none"
"""The `document_task` of a record whose vectors the bare model made, without a task."""
HASH_FIELD = "taskvec_hash"
FIELDS = ("document_id", "chunk", "text", HASH_FIELD)
"""What every stored point carries beside the user's payload, whose keys cannot have these names."""

ID_NAMESPACE = uuid.UUID("5f0d4a35-2f1b-5a2c-9c0e-7a3c1b8e4d61")
"""The namespace of all point ids. A change would make every collection be written again."""


def uuid_of(document_id: str, chunk: int) -> str:
    """The id of a chunk: a UUID that is the same in every run."""
    return str(uuid.uuid5(ID_NAMESPACE, f"{document_id}/{chunk}"))


@dataclass(frozen=True, slots=True)
class Point:
    """A chunk as it is stored.

    Args:
        id: What `Backend.point_id` returned for this chunk.
        document_id: The document's id as text.
        chunk: The chunk's place in its document, from 0.
        text: The chunk's text.
        hash: An opaque text of at most 80 ASCII characters; the backend stores it and returns it from `Backend.stored`.
        payload: The user's JSON, the same for all chunks of a document.
        payload_bytes: The length of `payload` as JSON in UTF-8.
        vector: Shape (dimensions,), float32 of length 1; empty where only the payload changed (`Backend.write_payloads`).
    """

    id: str
    document_id: str
    chunk: int
    text: str
    hash: str
    payload: Mapping[str, Any]
    payload_bytes: int
    vector: Vector

    def fields(self) -> dict[str, Any]:
        """All that is stored beside id and vector: the user's payload and `FIELDS`."""
        return {**self.payload, **dict(zip(FIELDS, (self.document_id, self.chunk, self.text, self.hash), strict=True))}


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that a search found.

    Attributes:
        id: The point's id in the database.
        document_id: The id of the chunk's document.
        chunk: The chunk's place in its document, from 0.
        score: The cosine between question and chunk.
        text: The chunk's text.
        payload: The user's own payload, without the store's fields.
    """

    id: str
    document_id: str
    chunk: int
    score: float
    text: str
    payload: dict[str, Any]

    @classmethod
    def of(cls, id: str, score: float, fields: Mapping[str, Any]) -> Self:
        """A hit from what `Point.fields` stored, or from what another program stored, which may lack fields."""
        payload = {name: value for name, value in fields.items() if name not in FIELDS}
        return cls(id, fields.get("document_id", id), fields.get("chunk", 0), score, fields.get("text", ""), payload)


@dataclass(frozen=True, slots=True)
class Record:
    """How the vectors of a collection were made; stored in the collection itself, compared whenever it is used again.

    Args:
        fingerprint: `Encoder.fingerprint` of the model.
        dimensions: The length of the vectors.
        document_task: The name of the documents' task, or `BARE`.
        late_chunking: Whether the chunks of a document share its context.
        metric: How vectors are compared; stores make collections with cosine.
    """

    fingerprint: str
    dimensions: int
    document_task: str
    late_chunking: bool
    metric: str = METRIC

    @property
    def task(self) -> Task | None:
        """The task that documents are encoded with."""
        return None if self.document_task == BARE else Task(self.document_task)

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Self:
        """The record with these stored fields.

        Raises:
            ValueError: The fields are not those of a record of this version.
        """
        try:
            return cls(**stored)
        except TypeError:
            raise ValueError(
                f"the collection's record is {dict(stored)!r}, which this version of taskvec cannot read: use the version that "
                "made the collection, or another collection"
            ) from None

    def to_json(self) -> str:
        """One line of JSON, for databases that keep text only."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The record that `to_json` wrote."""
        return cls.of(json.loads(text))
