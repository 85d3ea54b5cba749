"""`taskvec embed`: texts in, vectors out as they come, in bounded memory. Where they go and as what is in outputs.py."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

import numpy as np

from taskvec import EncodeOptions, Encoder, Task, Usage
from taskvec.integration import Span, blocks
from taskvec_integrations.cli.console import progress, say
from taskvec_integrations.cli.loading import load
from taskvec_integrations.cli.outputs import Embedded, Quantizer, open_output
from taskvec_integrations.extras import require
from taskvec_integrations.ingestion.backend import Vector
from taskvec_integrations.ingestion.documents import CheckedDocument, Document, Input, name_of, read_document
from taskvec_integrations.ingestion.report import Failure
from taskvec_integrations.lazy_encoder import LazyEncoder

BLOCK = 1 << 18  # characters that are split at once
BATCH = 1024  # vectors that are written at once


@dataclass(frozen=True)
class Wanted:
    """What the options of the command say; chunk_tokens: None never splits. task: None is the bare model."""

    task: Task | None
    dimensions: int | None
    late_chunking: bool
    chunk_tokens: int | None
    precision: str
    ranges: Path | None
    output: Path | None


@dataclass
class Run:
    """One pass over documents: what was read, in order, and waits for its vectors; what failed."""

    encoder: Encoder
    wanted: Wanted
    usage: Usage = field(default_factory=Usage)
    documents: int = 0
    failed: list[Failure] = field(default_factory=list)
    _waiting: deque[tuple[CheckedDocument, Sequence[Span]]] = field(default_factory=deque)

    def __call__(self, documents: Iterable[Input]) -> Iterator[Embedded]:
        """The vectors of all chunks, in order."""
        options: EncodeOptions = {"task": self.wanted.task, "dimensions": self.wanted.dimensions, "usage": self.usage}
        read = self._read(documents)
        if self.wanted.late_chunking:
            vectors: Iterator[Vector] = chain.from_iterable(self.encoder.encode_spans_iter(read, **options))
        else:
            vectors = self.encoder.encode_iter((text[start:stop] for text, spans in read for start, stop in spans), **options)
        for first in vectors:  # only now is it known whose it is
            source, spans = self._waiting.popleft()
            self.documents += 1
            for chunk, ((start, stop), vector) in enumerate(zip(spans, chain([first], vectors), strict=False)):
                yield Embedded(source.id, chunk, source.text[start:stop], vector)

    def _read(self, documents: Iterable[Input]) -> Iterator[tuple[str, Sequence[Span]]]:
        for block in blocks(self._checked(documents), lambda source: len(source.text) + 64, BLOCK):
            whole = iter(self._split([one.text for one in block if one.spans is None]))
            for source in block:
                spans = next(whole) if source.spans is None else source.spans
                self._waiting.append((source, spans))
                yield source.text, spans

    def _split(self, texts: Sequence[str]) -> Sequence[Sequence[Span]]:
        if self.wanted.chunk_tokens is None:
            return [[(0, len(text))] for text in texts]
        require("semchunk", "store")
        from taskvec_integrations.ingestion.chunking import check_chunk_tokens, split

        return split(texts, self.encoder, check_chunk_tokens(self.wanted.chunk_tokens))

    def _checked(self, documents: Iterable[Input]) -> Iterator[CheckedDocument]:
        for position, given in enumerate(documents):
            try:
                yield read_document(given)
            except (TypeError, ValueError) as error:
                self.failed.append(Failure(name_of(given, position), str(error)))


def documents_of(texts: Sequence[str], late_chunking: bool) -> Sequence[Document]:
    """Texts of the command line: each a document, or together the chunks of one."""
    return [Document(0, chunks=texts)] if late_chunking else [Document(number, text) for number, text in enumerate(texts)]


def run(documents: Iterable[Input], total: int | None, lazy: LazyEncoder, wanted: Wanted) -> list[Failure]:
    """Write the vectors of all documents; gives those that failed. Where the output keeps no ids, one that fails is an error."""
    quantize = Quantizer(wanted.precision, wanted.ranges)
    with open_output(wanted.output) as writer:
        run = Run(load(lazy), wanted)
        embedded = run(documents)
        with progress("embedding", total, "documents") as tell:
            while batch := list(islice(embedded, BATCH)):
                if run.failed and not writer.keeps_ids:
                    break
                writer.write(batch, quantize(np.stack([one.vector for one in batch])))
                tell(run.documents, "")
        if not run.documents:
            raise ValueError(f"none of {len(run.failed):,} texts could be embedded: {run.failed[0]}")
        if run.failed and not writer.keeps_ids:
            raise ValueError(f"{run.failed[0]}: a .npy file keeps no ids, so no row may be missing: use .jsonl or .parquet")
    if run.usage.truncated:
        say(f"{run.usage.truncated:,} texts were cut at {run.encoder.max_tokens} tokens: --chunk splits them")
    return run.failed
