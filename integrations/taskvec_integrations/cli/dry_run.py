"""What `taskvec ingest --dry-run` says: how many documents, chunks and tokens, and how long they would take on this machine.

Reads and splits everything, and encodes a sample. Knows no database, so what one holds already is not taken off.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.text import Text

from taskvec import Encoder, Usage
from taskvec.integration import DOCUMENT_TASK, blocks
from taskvec_integrations.cli.console import progress
from taskvec_integrations.cli.loading import load
from taskvec_integrations.files.sources import FileSource
from taskvec_integrations.ingestion.chunking import split
from taskvec_integrations.ingestion.documents import CheckedDocument, name_of, read_document
from taskvec_integrations.ingestion.report import Failure
from taskvec_integrations.lazy_encoder import LazyEncoder

BLOCK = 1 << 18  # characters that are split at once
BATCHES = 2  # of the encoder in the sample
UNITS = (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))


@dataclass
class Plan:
    """What was counted, and a sample of chunks to measure with."""

    encoder: Encoder
    chunk_tokens: int | None
    late_chunking: bool
    documents: int = 0
    chunks: int = 0
    tokens: int = 0
    failed: list[Failure] = field(default_factory=list)
    sample: list[str] = field(default_factory=list)
    _sampled: int = 0

    def add(self, sources: Sequence[CheckedDocument]) -> None:
        """Count documents; the instruction of each text is counted, too, overlaps of windows are not."""
        whole = iter(split([one.text for one in sources if one.spans is None], self.encoder, self.chunk_tokens))
        for source in sources:
            spans = next(whole) if source.spans is None else source.spans
            texts = [source.text[start:stop] for start, stop in spans]
            tokens = self.encoder.count_tokens([source.text] if self.late_chunking else texts)
            self.documents += 1
            self.chunks += len(spans)
            self.tokens += sum(tokens) + self._instruction() * len(tokens)
            self._take(texts)

    def _take(self, texts: Sequence[str]) -> None:
        for text in texts:
            if self._sampled > BATCHES * self.encoder.max_batch_tokens:
                return
            self.sample.append(text)
            self._sampled += self.encoder.count_tokens(text)[0]

    def speed(self) -> float:
        """Tokens a second over the sample, once the adapter is merged."""
        self.encoder.encode_documents(self.sample[:1])
        usage, start = Usage(), time.perf_counter()
        self.encoder.encode_documents(self.sample, usage=usage)
        return usage.tokens / (time.perf_counter() - start)

    def _instruction(self) -> int:
        return self.encoder.count_tokens(DOCUMENT_TASK.instruction)[0] - 2  # without <s> and </s>


def estimate(
    source: FileSource, lazy: LazyEncoder, chunk_tokens: int | None, late: bool, dimensions: int | None, where: str, out: Console
) -> list[Failure]:
    """Say what would be done; gives the documents that would fail. ValueError for dimensions that the model does not have."""
    encoder = load(lazy)
    encoder.encode_documents([], dimensions=dimensions)
    plan = Plan(encoder, chunk_tokens, late)
    with progress("reading", source.total, "documents") as tell:
        for block in blocks(_readable(source, plan), lambda one: len(one.text) + 64, BLOCK):
            plan.add(block)
            tell(plan.documents + len(plan.failed), f", {plan.chunks:,} chunks")
    lines = [f"Would put {plan.documents:,} documents, {plan.chunks:,} chunks, {plan.tokens:,} tokens into {where}"]
    if plan.sample:
        speed = plan.speed()
        lines.append(f"Encoding takes {duration(plan.tokens / speed)}, at {speed:,.0f} tokens a second, measured here just now")
    lines.append("Nothing was written, and nothing compared with what is there: what is stored unchanged would be skipped")
    lines += [f"Would fail: {len(plan.failed):,} of the documents"] if plan.failed else []
    out.print(Text("\n".join(lines)), soft_wrap=True)
    return plan.failed


def _readable(source: FileSource, plan: Plan) -> Iterable[CheckedDocument]:
    for position, given in enumerate(source):
        try:
            yield read_document(given)
        except (TypeError, ValueError) as error:
            plan.failed.append(Failure(name_of(given, position), str(error)))


def duration(seconds: float) -> str:
    """Seconds in the largest unit of which there are at least two."""
    name, length = next(((name, length) for name, length in UNITS if seconds >= 2 * length), UNITS[-1])
    return f"about {seconds / length:.0f} {name}" if seconds >= 2 else "less than 2 seconds"
