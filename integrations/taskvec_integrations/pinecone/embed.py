"""From the texts of records and documents to their vectors, and from the text of a search to its vector.

Knows an encoder and the names of fields, no connection. Never changes what a caller passed in.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import numpy as np

from taskvec import EncodeOptions
from taskvec.integration import Vectors, check_text
from taskvec_integrations.lazy_encoder import LazyEncoder
from taskvec_integrations.pinecone.limits import batches, check_id, check_metadata
from taskvec_integrations.pinecone.records import short_floats
from taskvec_integrations.pinecone.searches import as_dict
from taskvec_integrations.task_choice import EmbedSettings

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class RecordEmbedder:
    """Embeds the texts in records, documents and searches.

    Args:
        encoder: What embeds.
        settings: Tasks and dimensions.
        text_field: The field of a record that holds its text.
        vector_fields: {vector field of a document: the field of the text that it is made from}.
        document_field: The field that says which document a record is a chunk of; chunks of one document share its context.
    """

    encoder: LazyEncoder
    settings: EmbedSettings
    text_field: str = "text"
    vector_fields: Mapping[str, str] | None = None
    document_field: str | None = None

    @property
    def dimensions(self) -> int:
        """The length of the vectors; loads the encoder unless the settings say it."""
        return self.settings.dimensions or self.encoder.get().dimensions

    def embed_records(self, records: Sequence[Fields]) -> Iterator[list[dict[str, Any]]]:
        """Batches of vectors for `index.upsert`, each as large as a request may be.

        Checks and encodes all records before it yields the first batch.
        """
        if isinstance(records, str | Mapping) or not isinstance(records, Sequence):
            raise TypeError(f"records is {type(records).__name__}: pass a list of records")
        ids = [_record_id(record, f"record {place}") for place, record in enumerate(records)]
        metadata = [{name: value for name, value in record.items() if name not in ("_id", "id")} for record in records]
        texts = [self._record_text(fields, f"record {id!r}") for id, fields in zip(ids, metadata, strict=True)]
        for id, fields in zip(ids, metadata, strict=True):
            check_metadata(fields, f"record {id!r}")
        vectors = self._encode_documents(texts, metadata)
        items = (
            {"id": id, "values": short_floats(vector), "metadata": fields}
            for id, vector, fields in zip(ids, vectors, metadata, strict=True)
        )
        yield from batches(items)

    def embed_query(self, text: object) -> list[float]:
        """The vector of the text of a search."""
        if not isinstance(text, str):
            raise TypeError(f"the text of the search is {text!r}: pass a str")
        return short_floats(self.encoder.get().encode(text, **self._encode_options("query")))

    def embed_documents(self, documents: Sequence[Fields], *, require_text: bool) -> list[dict[str, Any]]:
        """Copies of documents with the vectors that they lack, made from their texts.

        Args:
            documents: Dicts, or the SDK's DocumentRecords.
            require_text: Raise ValueError for a document with neither a vector nor the text for it.
        """
        copies = [as_dict(document) for document in documents]
        for vector_field, text_field in (self.vector_fields or {}).items():
            lacking = [document for document in copies if vector_field not in document]
            if require_text and (without := [document for document in lacking if text_field not in document]):
                raise ValueError(
                    f"document {without[0].get('_id')!r} has neither {text_field!r} nor {vector_field!r}: "
                    "give it a text, or its vector"
                )
            to_embed = [document for document in lacking if text_field in document]
            texts = [_text(document, text_field, f"document {document.get('_id')!r}") for document in to_embed]
            for document, vector in zip(to_embed, short_floats(self._encode_documents(texts, to_embed)), strict=True):
                document[vector_field] = vector
        return copies

    def vector_field_of(self, field: str | None) -> str | None:
        """The vector field to search, given its name or that of its text field; None if it is not one of `vector_fields`."""
        text_fields = self.vector_fields or {}
        if field in text_fields:
            return field
        vectors = [vector for vector, text in text_fields.items() if text == field]
        if len(vectors) > 1:
            raise ValueError(f"the vector fields {', '.join(vectors)} are all made from {field!r}: search one of those by name")
        return vectors[0] if vectors else None

    def _encode_documents(self, texts: Sequence[str], fields: Sequence[Fields]) -> Vectors:
        """Vectors (n, dimensions) of n texts; neighbors of one document are encoded as its chunks."""
        encoder, options = self.encoder.get(), self._encode_options("document")
        if self.document_field is None:
            return encoder.encode(texts, **options)
        keys = [each.get(self.document_field, place) for place, each in enumerate(fields)]
        chunks = [[text for _, text in group] for _, group in groupby(zip(keys, texts, strict=True), key=lambda pair: pair[0])]
        return np.concatenate([np.empty((0, self.dimensions), np.float32), *encoder.encode_chunks(chunks, **options)])

    def _encode_options(self, operation: Literal["document", "query"]) -> EncodeOptions:
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
        raise TypeError(f"{where} is {type(record).__name__}: pass a dict with an '_id'")
    if "_id" not in record and "id" not in record:
        raise ValueError(f"{where} has no '_id': every record needs one")
    return check_id(record.get("_id", record.get("id")), where)
