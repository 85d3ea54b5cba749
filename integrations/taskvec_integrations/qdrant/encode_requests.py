"""From the Documents of a call to their vectors: what is encoded together, each text once, and what is cut from it.

A text that is wanted in several dimensions is encoded at the largest; the smaller vectors are cut from that one.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np

from taskvec import EncodeOptions, Encoder, Task, Usage
from taskvec.integration import Span, Vectors, check_spans, cut_dimensions
from taskvec_integrations.ingestion.chunking import split
from taskvec_integrations.lazy_encoder import LazyEncoder
from taskvec_integrations.qdrant.document_options import DocumentOptions, quote
from taskvec_integrations.qdrant.find_documents import Inference, Path
from taskvec_integrations.truncation import warn_of_truncation


@dataclass(frozen=True, eq=False)
class DocumentRequest:
    """A Document of our models as it was found: where it stands, what it asks for, who encodes it for which task."""

    document: Inference
    text: str
    options: DocumentOptions
    path: Path
    model: LazyEncoder
    task: Task | None

    @property
    def document_key(self) -> tuple[Hashable, ...] | None:
        """What identifies the document that the request is a chunk of; None for a text on its own."""
        return (id(self.model), self.task, self.options.document_id) if self.options.shares_context else None

    def check_dimensions(self) -> int:
        """The dimensions of the vector, by default the model's; ValueError with both numbers where it has fewer."""
        model_dimensions = self.model.get().dimensions
        dimensions = model_dimensions if self.options.dimensions is None else int(self.options.dimensions)
        if not 1 <= dimensions <= model_dimensions:
            fix = f"{self.model.get().model_id} has vectors of {model_dimensions}: use 1 to {model_dimensions}"
            raise ValueError(f"{quote(self.document)}: dimensions is {dimensions}, {fix}")
        return dimensions

    def find_spans(self) -> list[Span]:
        """The spans of the chunks of a whole text, as the options list them or split at `chunk_tokens`."""
        if self.options.spans is not None:
            spans = check_spans(self.options.spans, self.text, quote(self.document))
        else:
            spans = split([self.text], self.model.get(), self.options.chunk_tokens)[0] if self.text.strip() else []
        if not spans:
            raise ValueError(f"{quote(self.document)} has no chunk, and a multivector needs one: leave out the empty text")
        return spans


@dataclass(eq=False)
class EncoderInput:
    """What is encoded once: a text, a text with the spans of its chunks, or the chunks of one document (`are_chunks`).

    Attributes:
        dimensions: the most that a request wants.
        vectors: (chunks, `dimensions` or more), filled in by `encode_inputs`.
    """

    encoder: Encoder
    task: Task | None
    texts: Sequence[str]
    spans: Sequence[Span] | None = None
    are_chunks: bool = False
    dimensions: int = 0
    vectors: Vectors = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))


@dataclass(frozen=True, eq=False)
class VectorSlice:
    """The vector of a request: one row of an input's vectors, or all of them for a multivector, cut to `dimensions`."""

    source: EncoderInput
    rows: int | slice
    dimensions: int

    def to_list(self) -> list[Any]:
        """A list of floats, or a list of those for a multivector."""
        listed: list[Any] = cut_dimensions(self.source.vectors[self.rows], self.dimensions).tolist()
        return listed


def encode_requests(requests: Sequence[DocumentRequest]) -> list[list[Any]]:
    """The vectors of requests, in their order."""
    slices = share_inputs(requests)
    batches: dict[tuple[Encoder, Task | None, bool, bool], list[EncoderInput]] = defaultdict(list)
    for one in dict.fromkeys(part.source for part in slices):
        batches[one.encoder, one.task, one.are_chunks, one.spans is not None].append(one)
    for inputs in batches.values():
        encode_inputs(inputs)
    return [part.to_list() for part in slices]


def encode_inputs(inputs: Sequence[EncoderInput]) -> None:
    """Encode inputs of one encoder, task and kind in one call, and fill in their `vectors`."""
    encoder, usage = inputs[0].encoder, Usage()
    options: EncodeOptions = {
        "task": inputs[0].task,
        "dimensions": max(one.dimensions for one in inputs),
        "usage": usage,
    }
    if inputs[0].are_chunks:
        results = encoder.encode_chunks([one.texts for one in inputs], **options)
    elif inputs[0].spans is not None:
        texts, spans = [one.texts[0] for one in inputs], [one.spans or () for one in inputs]
        results = encoder.encode_spans(texts, spans, **options)
    else:
        results = list(encoder.encode([one.texts[0] for one in inputs], **options)[:, None])
    warn_of_truncation(usage, encoder)
    for one, vectors in zip(inputs, results, strict=True):
        one.vectors = vectors


def share_inputs(requests: Sequence[DocumentRequest]) -> list[VectorSlice]:
    """What each request takes from which input; requests for equal texts share one input."""
    inputs: dict[Hashable, EncoderInput] = {}
    slices: dict[int, VectorSlice] = {}

    def share(first: DocumentRequest, texts: Sequence[str], spans: Sequence[Span] | None, are_chunks: bool) -> EncoderInput:
        new = EncoderInput(first.model.get(), first.task, texts, spans, are_chunks)
        return inputs.setdefault((new.encoder, new.task, tuple(texts), spans and tuple(spans), are_chunks), new)

    for numbers in group_chunks(requests):
        first = requests[numbers[0]]
        spans = first.find_spans() if first.options.is_whole_text else None
        source = share(first, [requests[number].text for number in numbers], spans, first.options.shares_context)
        for row, number in enumerate(numbers):
            dimensions = requests[number].check_dimensions()
            source.dimensions = max(source.dimensions, dimensions)
            slices[number] = VectorSlice(source, row if spans is None else slice(None), dimensions)
    return [slices[number] for number in range(len(requests))]


def group_chunks(requests: Sequence[DocumentRequest]) -> list[list[int]]:
    """Numbers of the requests that share context: chunks of one document that follow one another in the same place.

    A text on its own is a group of one.

    Raises:
        ValueError: a chunk is empty, or other texts stand between the chunks of a document.
    """
    places: dict[Path, list[int]] = defaultdict(list)
    for number, request in enumerate(requests):
        if request.options.shares_context and not request.text:
            raise ValueError(f"{quote(request.document)} is an empty chunk, which has no vector of its own: leave it out")
        places[request.path].append(number)
    groups: list[list[int]] = []
    for numbers in places.values():
        seen = set()
        for document, group in groupby(numbers, key=lambda number: requests[number].document_key):
            if document is None:
                groups += [[number] for number in group]
                continue
            groups.append(list(group))
            if document in seen:
                raise interrupted_document_error(requests[groups[-1][0]])
            seen.add(document)
    return groups


def interrupted_document_error(request: DocumentRequest) -> ValueError:
    """The error for a chunk of a document that had ended already."""
    return ValueError(
        f"{quote(request.document)}: other texts stand between the chunks of document {request.options.document_id!r}. Late "
        "chunking reads the chunks of a document together: put its points one after another"
    )
