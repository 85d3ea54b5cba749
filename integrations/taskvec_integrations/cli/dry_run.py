"""What `taskvec ingest --dry-run` prints: how many documents, chunks and tokens, and how long they would take on this machine.

Reads and splits everything, and encodes a sample. Knows no database, so what one already holds is not subtracted.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.text import Text

from taskvec import Encoder, Usage
from taskvec.integration import DOCUMENT_TASK, blocks
from taskvec_integrations.cli.console import progress_bar
from taskvec_integrations.cli.model_loading import load_model
from taskvec_integrations.files.sources import FileSource
from taskvec_integrations.ingestion.chunking import split
from taskvec_integrations.ingestion.documents import CheckedDocument, name_of, read_document
from taskvec_integrations.ingestion.report import Failure
from taskvec_integrations.lazy_encoder import LazyEncoder

BLOCK_CHARACTERS = 1 << 18
"""So much text is split at once."""
SAMPLE_BATCHES = 2
"""Batches of the encoder in the sample."""
TIME_UNITS = (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))


@dataclass
class DryRunEstimate:
    """Counts of what would be ingested, and a sample of chunks to measure the encoder with."""

    encoder: Encoder
    chunk_tokens: int | None
    late_chunking: bool
    documents: int = 0
    chunks: int = 0
    tokens: int = 0
    failures: list[Failure] = field(default_factory=list)
    sample: list[str] = field(default_factory=list)
    _sample_tokens: int = 0

    def add(self, documents: Sequence[CheckedDocument]) -> None:
        """Count documents. The instruction of each text is counted, too; overlaps of windows are not."""
        split_spans = iter(split([one.text for one in documents if one.spans is None], self.encoder, self.chunk_tokens))
        for document in documents:
            spans = next(split_spans) if document.spans is None else document.spans
            texts = [document.text[start:stop] for start, stop in spans]
            tokens = self.encoder.count_tokens([document.text] if self.late_chunking else texts)
            self.documents += 1
            self.chunks += len(spans)
            self.tokens += sum(tokens) + self._instruction_tokens() * len(tokens)
            self._add_to_sample(texts)

    def tokens_per_second(self) -> float:
        """Encode the sample, after the adapter is merged, and take the time."""
        self.encoder.encode_documents(self.sample[:1])
        usage, start = Usage(), time.perf_counter()
        self.encoder.encode_documents(self.sample, usage=usage)
        return usage.tokens / (time.perf_counter() - start)

    def _add_to_sample(self, texts: Sequence[str]) -> None:
        for text in texts:
            if self._sample_tokens > SAMPLE_BATCHES * self.encoder.max_batch_tokens:
                return
            self.sample.append(text)
            self._sample_tokens += self.encoder.count_tokens(text)[0]

    def _instruction_tokens(self) -> int:
        return self.encoder.count_tokens(DOCUMENT_TASK.instruction)[0] - 2  # without <s> and </s>


def estimate(
    source: FileSource,
    lazy: LazyEncoder,
    chunk_tokens: int | None,
    late_chunking: bool,
    dimensions: int | None,
    destination: str,
    out: Console,
) -> list[Failure]:
    """Print what an ingest would do.

    Args:
        source: The documents.
        lazy: The model.
        chunk_tokens: Longer texts are split; None never splits.
        late_chunking: Whether the chunks of a document share its context.
        dimensions: The length of a vector; None is the model's full width.
        destination: How the output calls the database.
        out: Where to print.

    Returns:
        The documents that would fail.

    Raises:
        ValueError: The model does not have these dimensions.
    """
    encoder = load_model(lazy)
    encoder.encode_documents([], dimensions=dimensions)
    counts = DryRunEstimate(encoder, chunk_tokens, late_chunking)
    with progress_bar("reading", source.total, "documents") as update_bar:
        for block in blocks(_readable(source, counts), lambda one: len(one.text) + 64, BLOCK_CHARACTERS):
            counts.add(block)
            update_bar(counts.documents + len(counts.failures), f", {counts.chunks:,} chunks")
    out.print(Text("\n".join(_lines(counts, destination))), soft_wrap=True)
    return counts.failures


def _lines(counts: DryRunEstimate, destination: str) -> Iterable[str]:
    yield f"Would put {counts.documents:,} documents, {counts.chunks:,} chunks, {counts.tokens:,} tokens into {destination}"
    if counts.sample:
        speed = counts.tokens_per_second()
        yield f"Encoding takes {format_duration(counts.tokens / speed)}, at {speed:,.0f} tokens a second, measured here just now"
    yield "Nothing was written or compared with what is there: what is stored unchanged would be skipped"
    if counts.failures:
        yield f"Would fail: {len(counts.failures):,} of the documents"


def _readable(source: FileSource, counts: DryRunEstimate) -> Iterable[CheckedDocument]:
    for position, document in enumerate(source):
        try:
            yield read_document(document)
        except (TypeError, ValueError) as error:
            counts.failures.append(Failure(name_of(document, position), str(error)))


def format_duration(seconds: float) -> str:
    """Seconds in the largest unit of which there are at least two."""
    name, length = next(((name, length) for name, length in TIME_UNITS if seconds >= 2 * length), TIME_UNITS[-1])
    return f"about {seconds / length:.0f} {name}" if seconds >= 2 else "less than 2 seconds"
