"""From the Documents of a call to their vectors: what is encoded together, each text once, and what is cut from it.

A text that is asked for in several dimensions is encoded at the largest; the smaller vectors are cut from that one.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from taskvec import EncodeOptions, Encoder, Task, Usage
from taskvec.integration import Span, Vectors, check_spans, cut_dimensions
from taskvec_integrations.ingestion.chunking import split
from taskvec_integrations.lazy_encoder import LazyEncoder, warn_of_cuts
from taskvec_integrations.qdrant.document_options import DocumentOptions, quote
from taskvec_integrations.qdrant.find_documents import Inference, Path


class Request(NamedTuple):
    """A Document of our models as it was found: where it stands, what it asks for, who encodes it for which task."""

    document: Inference
    text: str
    options: DocumentOptions
    path: Path
    model: LazyEncoder
    task: Task | None

    @property
    def chunk_of(self) -> tuple[Hashable, ...] | None:
        """What names the document that the request is a chunk of; None for a text on its own."""
        return (id(self.model), self.task, self.options.document_id) if self.options.joined else None

    def check_dimensions(self) -> int:
        """The dimensions that are asked for; the model's own by default, a ValueError with both numbers out of range."""
        width = self.model.get().dimensions
        asked = width if self.options.dimensions is None else int(self.options.dimensions)
        if not 1 <= asked <= width:
            fix = f"{self.model.get().model_id} has vectors of {width}: use 1 to {width}"
            raise ValueError(f"{quote(self.document)}: dimensions is {asked}, {fix}")
        return asked

    def find_spans(self) -> list[Span]:
        """The spans of the chunks of a whole text, as given or split to `chunk_tokens`."""
        if self.options.spans is not None:
            spans = check_spans(self.options.spans, self.text, quote(self.document))
        else:
            spans = split([self.text], self.model.get(), self.options.chunk_tokens)[0] if self.text.strip() else []
        if not spans:
            raise ValueError(f"{quote(self.document)} has no chunk: a multivector needs a row, so leave an empty text out")
        return spans


@dataclass(eq=False)
class Work:
    """What is encoded once: a text, a text with the spans of its chunks, or the chunks of a document (`joined`)."""

    encoder: Encoder
    task: Task | None
    texts: Sequence[str]
    spans: Sequence[Span] | None = None
    joined: bool = False
    dimensions: int = 0
    """The most that is asked for."""
    vectors: Vectors = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    """(chunks, at least dimensions), once it was encoded."""


class Cut(NamedTuple):
    """The vector of a request: a row of what was encoded, or all of them for a multivector, cut to dimensions."""

    work: Work
    row: int | slice
    dimensions: int

    def vector(self) -> list[Any]:
        """A list of floats, or for a multivector a list of those."""
        listed: list[Any] = cut_dimensions(self.work.vectors[self.row], self.dimensions).tolist()
        return listed


def encode(requests: Sequence[Request]) -> list[list[Any]]:
    """The vectors of requests, in their order."""
    cuts = plan(requests)
    together: dict[tuple[Encoder, Task | None, bool, bool], list[Work]] = defaultdict(list)
    for work in dict.fromkeys(cut.work for cut in cuts):
        together[work.encoder, work.task, work.joined, work.spans is not None].append(work)
    for works in together.values():
        run(works)
    return [cut.vector() for cut in cuts]


def run(works: Sequence[Work]) -> None:
    """Encode works of one encoder, task and kind in one go."""
    encoder, usage = works[0].encoder, Usage()
    options: EncodeOptions = {
        "task": works[0].task,
        "dimensions": max(work.dimensions for work in works),
        "usage": usage,
    }
    if works[0].joined:
        results = encoder.encode_chunks([work.texts for work in works], **options)
    elif works[0].spans is not None:
        texts, spans = [work.texts[0] for work in works], [work.spans or () for work in works]
        results = encoder.encode_spans(texts, spans, **options)
    else:
        results = list(encoder.encode([work.texts[0] for work in works], **options)[:, None])
    warn_of_cuts(usage, encoder)
    for work, vectors in zip(works, results, strict=True):
        work.vectors = vectors


def plan(requests: Sequence[Request]) -> list[Cut]:
    """What to encode and what to cut from it, one Cut for each request; equal texts share the work."""
    works: dict[Hashable, Work] = {}
    cuts: dict[int, Cut] = {}

    def share(first: Request, texts: Sequence[str], spans: Sequence[Span] | None, joined: bool) -> Work:
        work = Work(first.model.get(), first.task, texts, spans, joined)
        return works.setdefault((work.encoder, work.task, tuple(texts), spans and tuple(spans), joined), work)

    for numbers in runs(requests):
        first = requests[numbers[0]]
        spans = first.find_spans() if first.options.whole_text else None
        work = share(first, [requests[number].text for number in numbers], spans, first.options.joined)
        for row, number in enumerate(numbers):
            dimensions = requests[number].check_dimensions()
            work.dimensions = max(work.dimensions, dimensions)
            cuts[number] = Cut(work, row if spans is None else slice(None), dimensions)
    return [cuts[number] for number in range(len(requests))]


def runs(requests: Sequence[Request]) -> list[list[int]]:
    """Numbers of the requests that share context: chunks of one document that follow one another in the same place.

    A text on its own is a run of one. Chunks of a document with others between them are a ValueError, an empty chunk too.
    """
    places: dict[Path, list[int]] = defaultdict(list)
    for number, request in enumerate(requests):
        if request.options.joined and not request.text:
            raise ValueError(f"{quote(request.document)} is an empty chunk, which has no vector of its own: leave it out")
        places[request.path].append(number)
    found: list[list[int]] = []
    for numbers in places.values():
        seen = set()
        for document, group in groupby(numbers, key=lambda number: requests[number].chunk_of):
            if document is None:
                found += [[number] for number in group]
                continue
            found.append(list(group))
            if document in seen:
                raise interrupted(requests[found[-1][0]])
            seen.add(document)
    return found


def interrupted(request: Request) -> ValueError:
    """The error of a chunk whose document was over already."""
    return ValueError(
        f"{quote(request.document)}: other texts stand between the chunks of document {request.options.document_id!r}, and late "
        "chunking reads a document as it comes: put its points one after another"
    )
