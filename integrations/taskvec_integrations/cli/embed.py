"""`taskvec embed`: texts in, vectors out as they come, in bounded memory. Where and in which format they go is in outputs.py."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

import numpy as np

from taskvec import EncodeOptions, Encoder, Task, Usage
from taskvec.integration import Span, blocks
from taskvec_integrations.cli.console import print_line, progress_bar
from taskvec_integrations.cli.model_loading import load_model
from taskvec_integrations.cli.outputs import EmbeddedChunk, Quantizer, VectorWriter, open_output
from taskvec_integrations.extras import require
from taskvec_integrations.ingestion.documents import CheckedDocument, Document, Input, name_of, read_document
from taskvec_integrations.ingestion.points import Vector
from taskvec_integrations.ingestion.report import Failure
from taskvec_integrations.lazy_encoder import LazyEncoder

BLOCK_CHARACTERS = 1 << 18
"""So much text is split at once."""
BATCH_VECTORS = 1024
"""So many vectors are written at once."""


@dataclass(frozen=True)
class EmbedCommandOptions:
    """What the options of the command say.

    Attributes:
        task: What the vectors are for; None is the bare model.
        dimensions: The length of a vector; None is the model's full width.
        late_chunking: Whether the chunks of a document share its context.
        chunk_tokens: Longer texts are split; None never splits.
        precision: What the numbers of a vector are.
        ranges: The file with the ranges of int8 and uint8.
        output: The file to write; None is JSON lines on stdout.
    """

    task: Task | None
    dimensions: int | None
    late_chunking: bool
    chunk_tokens: int | None
    precision: str
    ranges: Path | None
    output: Path | None


@dataclass
class EmbeddingRun:
    """One pass over documents.

    Attributes:
        encoder: The model.
        options: How to encode and split.
        usage: What the encoder read.
        documents: How many have vectors.
        failures: Those that could not be used.
    """

    encoder: Encoder
    options: EmbedCommandOptions
    usage: Usage = field(default_factory=Usage)
    documents: int = 0
    failures: list[Failure] = field(default_factory=list)
    _waiting: deque[tuple[CheckedDocument, Sequence[Span]]] = field(default_factory=deque)

    def embed(self, documents: Iterable[Input]) -> Iterator[EmbeddedChunk]:
        """Encode documents as they are read; yields all chunks in order."""
        options: EncodeOptions = {"task": self.options.task, "dimensions": self.options.dimensions, "usage": self.usage}
        read = self._read(documents)
        if self.options.late_chunking:
            vectors: Iterator[Vector] = chain.from_iterable(self.encoder.encode_spans_iter(read, **options))
        else:
            vectors = self.encoder.encode_iter((text[start:stop] for text, spans in read for start, stop in spans), **options)
        for first in vectors:  # its document was read before it, and waits at the left
            document, spans = self._waiting.popleft()
            self.documents += 1
            for chunk, ((start, stop), vector) in enumerate(zip(spans, chain([first], vectors), strict=False)):
                yield EmbeddedChunk(document.id, chunk, document.text[start:stop], vector)

    def _read(self, documents: Iterable[Input]) -> Iterator[tuple[str, Sequence[Span]]]:
        for block in blocks(self._check(documents), lambda document: len(document.text) + 64, BLOCK_CHARACTERS):
            split_spans = iter(self._split([document.text for document in block if document.spans is None]))
            for document in block:
                spans = next(split_spans) if document.spans is None else document.spans
                self._waiting.append((document, spans))
                yield document.text, spans

    def _split(self, texts: Sequence[str]) -> Sequence[Sequence[Span]]:
        if self.options.chunk_tokens is None:
            return [[(0, len(text))] for text in texts]
        require("semchunk", "store")
        from taskvec_integrations.ingestion.chunking import check_chunk_tokens, split

        return split(texts, self.encoder, check_chunk_tokens(self.options.chunk_tokens))

    def _check(self, documents: Iterable[Input]) -> Iterator[CheckedDocument]:
        for position, document in enumerate(documents):
            try:
                yield read_document(document)
            except (TypeError, ValueError) as error:
                self.failures.append(Failure(name_of(document, position), str(error)))


def documents_from_texts(texts: Sequence[str], late_chunking: bool) -> Sequence[Document]:
    """Make documents of the texts of the command line: one of each, or with late chunking one whose chunks they are."""
    return [Document(0, chunks=texts)] if late_chunking else [Document(number, text) for number, text in enumerate(texts)]


def run(documents: Iterable[Input], total: int | None, lazy: LazyEncoder, options: EmbedCommandOptions) -> list[Failure]:
    """Write the vectors of all documents.

    Args:
        documents: What to encode.
        total: How many there are; None where that is not known.
        lazy: The model.
        options: How to encode, and what to write where.

    Returns:
        The documents that failed.

    Raises:
        ValueError: No document could be used, or one failed where the output keeps no ids.
    """
    quantizer = Quantizer(options.precision, options.ranges)
    with open_output(options.output) as writer:
        run = EmbeddingRun(load_model(lazy), options)
        _write(run, run.embed(documents), total, quantizer, writer)
        if not run.documents:
            raise ValueError(f"none of {len(run.failures):,} texts could be embedded: {run.failures[0]}")
        if run.failures and not writer.keeps_ids:
            raise ValueError(f"{run.failures[0]}: a .npy file keeps no ids, so no row may be missing: use .jsonl or .parquet")
    if run.usage.truncated:
        print_line(f"{run.usage.truncated:,} texts were cut at {run.encoder.max_tokens} tokens: --chunk splits them")
    return run.failures


def _write(
    run: EmbeddingRun, chunks: Iterator[EmbeddedChunk], total: int | None, quantizer: Quantizer, writer: VectorWriter
) -> None:
    with progress_bar("embedding", total, "documents") as update_bar:
        while batch := list(islice(chunks, BATCH_VECTORS)):
            if run.failures and not writer.keeps_ids:
                break
            writer.write(batch, quantizer.quantize(np.stack([chunk.vector for chunk in batch])))
            update_bar(run.documents, "")
