"""From records and documents with texts to vectors, and from the text of a search to its vector.

Knows an encoder and the names of fields, no connection. Nothing a caller handed over is changed in place.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from taskvec import EncodeOptions
from taskvec.integration import Vectors, check_text
from taskvec_integrations.lazy_encoder import LazyEncoder
from taskvec_integrations.pinecone import sdk
from taskvec_integrations.pinecone.limits import batches, check_id, check_metadata
from taskvec_integrations.task_choice import EmbedSettings

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Texts:
    """Embeds what an index is given.

    text_field: of a record's text. vector_fields: of a document's vectors, each with the field whose text it is made of.
    document_field: which document a record is a chunk of; chunks of one share its context.
    """

    encoder: LazyEncoder
    settings: EmbedSettings
    text_field: str = "text"
    vector_fields: Mapping[str, str] | None = None
    document_field: str | None = None

    @property
    def dimensions(self) -> int:
        """How long the vectors are; loads the encoder where that was not said."""
        return self.settings.dimensions or self.encoder.get().dimensions

    def upserts(self, records: Sequence[Fields]) -> Iterator[list[dict[str, Any]]]:
        """Vectors for `index.upsert`, as many together as a request takes; all are checked and encoded before the first comes."""
        if isinstance(records, str | Mapping) or not isinstance(records, Sequence):
            raise TypeError(f"records is {type(records).__name__}: a list of records was expected")
        ids = [_record_id(record, f"record {place}") for place, record in enumerate(records)]
        kept = [{name: value for name, value in record.items() if name not in ("_id", "id")} for record in records]
        texts = [self._record_text(fields, f"record {id!r}") for id, fields in zip(ids, kept, strict=True)]
        for id, fields in zip(ids, kept, strict=True):
            check_metadata(fields, f"record {id!r}")
        vectors = self._documents(texts, kept)
        items = (
            {"id": id, "values": sdk.short_floats(vector), "metadata": fields}
            for id, vector, fields in zip(ids, vectors, kept, strict=True)
        )
        yield from batches(items)

    def query(self, text: object) -> list[float]:
        """The vector of a text that searches."""
        if not isinstance(text, str):
            raise TypeError(f"the text of the search is {text!r}: a str was expected")
        return sdk.short_floats(self.encoder.get().encode(text, **self._options("query")))

    def filled(self, documents: Sequence[Fields], *, complete: bool) -> list[dict[str, Any]]:
        """Documents with the vectors that they lack, of their texts; with `complete`, one without a text is an error."""
        whole = [sdk.plain(document) for document in documents]
        for vector_field, text_field in (self.vector_fields or {}).items():
            wanting = [document for document in whole if vector_field not in document and text_field in document]
            if complete and (without := [item for item in whole if vector_field not in item and text_field not in item]):
                raise ValueError(
                    f"document {without[0].get('_id')!r} has neither {text_field!r} nor {vector_field!r}: "
                    "give it a text, or its vector"
                )
            texts = [_text(document, text_field, f"document {document.get('_id')!r}") for document in wanting]
            for document, vector in zip(wanting, sdk.short_floats(self._documents(texts, wanting)), strict=True):
                document[vector_field] = vector
        return whole

    def searched(self, field: str | None) -> str | None:
        """The vector field that a text is searched in, by its name or that of the text it is made of; None if it is not ours."""
        made = self.vector_fields or {}
        if field in made:
            return field
        vectors = [vector for vector, text in made.items() if text == field]
        if len(vectors) > 1:
            raise ValueError(f"the text of {field!r} is in the vector fields {', '.join(vectors)}: name one of those")
        return vectors[0] if vectors else None

    def _documents(self, texts: Sequence[str], of: Sequence[Fields]) -> Vectors:
        """Vectors (n, dimensions) of stored texts; those of one document next to each other are its chunks."""
        encoder, options = self.encoder.get(), self._options("document")
        if self.document_field is None:
            return encoder.encode(texts, **options)
        keys = [fields.get(self.document_field, place) for place, fields in enumerate(of)]
        chunks = [[text for _, text in group] for _, group in groupby(zip(keys, texts, strict=True), key=lambda pair: pair[0])]
        return np.concatenate([np.empty((0, self.dimensions), np.float32), *encoder.encode_chunks(chunks, **options)])

    def _options(self, operation: Any) -> EncodeOptions:
        return {"task": self.settings.task(operation), "dimensions": self.settings.dimensions}

    def _record_text(self, fields: Fields, where: str) -> str:
        if self.text_field not in fields:
            raise ValueError(
                f"{where} has no field {self.text_field!r} to embed, it has {', '.join(map(repr, fields)) or 'nothing'}: "
                "name the field of the text with text_field="
            )
        return _text(fields, self.text_field, where)


def _text(fields: Fields, name: str, where: str) -> str:
    return check_text(fields[name], f"{where}, field {name!r}")


def _record_id(record: Fields, where: str) -> str:
    if not isinstance(record, Mapping):
        raise TypeError(f"{where} is {type(record).__name__}: a dict with an '_id' was expected")
    if "_id" not in record and "id" not in record:
        raise ValueError(f"{where} has no '_id': every record needs one")
    return check_id(record.get("_id", record.get("id")), where)
