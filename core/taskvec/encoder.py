"""Encoder: the public face. Checks what it is given and hands it to the pipeline; every step lives in its own module."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

import numpy as np

from taskvec.devices import MAX_BATCH_TOKENS
from taskvec.fingerprint import fingerprint
from taskvec.hub import DEFAULT_MODEL
from taskvec.late_chunking import Span, check_spans, join_chunks
from taskvec.loading import LoadOptions, LoadSettings, Parts, load
from taskvec.options import EncodeOptions, Settings, Usage, check_dimensions
from taskvec.pipeline import Item, Pipeline, in_thread
from taskvec.pooling import Vectors
from taskvec.tasks import DOCUMENT_TASK, QUERY_TASK, Task

SpanLists = Sequence[Iterable[Span]]


class Encoder:
    """jina-embeddings-v3 on one device: task, dimensions and late chunking for any number of texts.

    Made by `from_pretrained`. Thread-safe, so share one; `close()` or a with-block frees its memory.

    tasks: those the checkpoint has adapters for. dimensions: the full width of a vector. max_tokens: the context, special
    tokens and instruction included. model_id, device, dtype, max_batch_tokens: what was loaded, where and how.
    """

    def __init__(self, parts: Parts, settings: LoadSettings) -> None:
        self.tasks = parts.tasks
        self.dimensions = parts.config.width
        self.max_tokens = parts.config.max_tokens
        self.model_id = parts.located.model_id
        self.device = parts.runner.device
        self.dtype = parts.runner.dtype
        self.max_batch_tokens = settings.max_batch_tokens or MAX_BATCH_TOKENS[self.device.type]
        self._settings = settings
        self._located = parts.located
        self._tokenizer = parts.tokenizer
        self._instructions = parts.config.instructions
        self._open_pipeline: Pipeline | None = Pipeline(parts.tokenizer, parts.runner, self.max_tokens, self.max_batch_tokens)
        self._holders = 1
        self._holders_lock = threading.Lock()

    @classmethod
    def from_pretrained(cls, model: str | Path = DEFAULT_MODEL, **options: Unpack[LoadOptions]) -> Self:
        """Load a model from a hub id or a local folder, in either published layout, running none of its code.

        revision: branch, tag or commit on the hub. device: None takes CUDA, else MPS, else the CPU. dtype: "float32", "bfloat16",
        "float16"; None takes the fastest faithful one of the device. max_batch_tokens: tokens of a batch. max_bodies: how many
        tasks' merged weights are kept; None keeps every task used. merge_adapters=False keeps one set of weights and
        applies the adapters on the fly, slower and smaller. cache_dir, local_files_only, token: as in huggingface_hub.

        Raises CheckpointError for a folder that cannot be loaded faithfully; FileNotFoundError, PermissionError, ConnectionError
        or OSError where it cannot be fetched; ValueError for other unusable values. Messages say what to do.
        """
        settings = LoadSettings(model, **options)
        return cls(load(settings), settings)

    def encode(
        self,
        texts: str | Iterable[str],
        *,
        late_chunking: bool = False,
        **options: Unpack[EncodeOptions],
    ) -> Vectors:
        """Vectors of texts: (n, dimensions) float32 in input order, (dimensions,) for a single str.

        late_chunking: the texts are the consecutive chunks of one document and share its context.
        task: one of the five, or None for the bare model without adapter and instruction; default text-matching.
        dimensions: 1 to the model's width; cut, then normalised. instruction: None puts the task's own before each text,
        "" none, else this one. normalize (True): to unit length. truncate (True): cut texts at `max_tokens`; False
        raises ValueError with index, tokens and limit before anything is encoded (late chunking has windows and never
        cuts). progress: True for a bar, or a function of (done, total). usage: a Usage to add to.

        Raises TypeError with the index for anything but a str, ValueError for values out of range.
        """
        return self._encode(texts, late_chunking, self._resolve(Task.TEXT_MATCHING, options))

    def encode_queries(self, texts: str | Iterable[str], **options: Unpack[EncodeOptions]) -> Vectors:
        """`encode` with the task of a text that searches, retrieval.query."""
        return self._encode(texts, False, self._resolve(QUERY_TASK, options))

    def encode_documents(
        self, texts: str | Iterable[str], *, late_chunking: bool = False, **options: Unpack[EncodeOptions]
    ) -> Vectors:
        """`encode` with the task of a text that is indexed, retrieval.passage."""
        return self._encode(texts, late_chunking, self._resolve(DOCUMENT_TASK, options))

    def encode_spans(self, texts: Sequence[str], spans: SpanLists, **options: Unpack[EncodeOptions]) -> list[Vectors]:
        """Late chunking: for each document the vectors (n_spans, dimensions) of its character spans, in the order given.

        A document is encoded once (in overlapping windows beyond `max_tokens`) and each span pooled from the tokens that begin in
        it; spans may overlap and leave gaps. The default task is retrieval.passage; options as in `encode`, where truncate
        has nothing to cut. An empty or out-of-range span is a ValueError with document and span.
        """
        settings = self._resolve(DOCUMENT_TASK, options)
        if isinstance(texts, str):
            raise TypeError("texts is a str, a list of documents was expected: encode_spans([text], [spans])")
        documents, spans = list(_items(texts, "document")), list(spans)
        if len(documents) != len(spans):
            raise ValueError(f"{len(documents)} texts came with {len(spans)} lists of spans, one for each text is needed")
        return self._encode_spanned(
            [
                item._replace(spans=check_spans(own, item.text, f"document {item.position}"))
                for item, own in zip(documents, spans, strict=True)
            ],
            settings,
        )

    def encode_chunks(self, documents: Sequence[Iterable[str]], **options: Unpack[EncodeOptions]) -> list[Vectors]:
        """Late chunking of documents given as lists of chunk texts: one (n_chunks, dimensions) each.

        The chunks of a document are joined by a space and encoded as in `encode_spans`. An empty chunk is a ValueError.
        """
        settings = self._resolve(DOCUMENT_TASK, options)
        if isinstance(documents, str) or any(isinstance(chunks, str) for chunks in documents):
            raise TypeError("a document is a str, a list of its chunks was expected: encode_chunks([[chunk, chunk], ...])")
        chunked = [list(_items(chunks, f"document {i}, chunk")) for i, chunks in enumerate(documents)]
        return self._encode_spanned(
            [Item(i, *join_chunks([chunk.text for chunk in chunks], f"document {i}, ")) for i, chunks in enumerate(chunked)],
            settings,
        )

    def encode_iter(self, texts: Iterable[str], **options: Unpack[EncodeOptions]) -> Iterator[Vectors]:
        """Vectors (dimensions,) of any iterable, one by one in input order, in bounded memory; options as in `encode`.

        The iterable is read a block at a time in the caller's thread. An error in it, a text that is no str included, is
        raised after the vectors of the texts before it.
        """
        settings = self._resolve(Task.TEXT_MATCHING, options)
        if isinstance(texts, str):
            raise TypeError("texts is a str, an iterable of texts was expected: use encode for a single text")
        blocks = self._pipeline.texts(_items(texts), settings, None)
        return (vector for block in blocks for vector in block)

    async def aencode(
        self, texts: str | Iterable[str], *, late_chunking: bool = False, **options: Unpack[EncodeOptions]
    ) -> Vectors:
        """`encode` in a thread; cancelling it ends the work at the next batch."""
        return await in_thread(self.encode, texts, late_chunking=late_chunking, **options)

    async def aencode_queries(self, texts: str | Iterable[str], **options: Unpack[EncodeOptions]) -> Vectors:
        """`encode_queries` in a thread; cancelling it ends the work at the next batch."""
        return await in_thread(self.encode_queries, texts, **options)

    async def aencode_documents(
        self, texts: str | Iterable[str], *, late_chunking: bool = False, **options: Unpack[EncodeOptions]
    ) -> Vectors:
        """`encode_documents` in a thread; cancelling it ends the work at the next batch."""
        return await in_thread(self.encode_documents, texts, late_chunking=late_chunking, **options)

    async def aencode_spans(self, texts: Sequence[str], spans: SpanLists, **options: Unpack[EncodeOptions]) -> list[Vectors]:
        """`encode_spans` in a thread; cancelling it ends the work at the next batch."""
        return await in_thread(self.encode_spans, texts, spans, **options)

    async def aencode_chunks(self, documents: Sequence[Iterable[str]], **options: Unpack[EncodeOptions]) -> list[Vectors]:
        """`encode_chunks` in a thread; cancelling it ends the work at the next batch."""
        return await in_thread(self.encode_chunks, documents, **options)

    @cached_property
    def fingerprint(self) -> str:
        """Identifies weights and pooling: ``model@commit/mean``, or ``sha256:.../mean`` for a local folder."""
        return fingerprint(self._located)

    def count_tokens(self, texts: str | Iterable[str]) -> list[int]:
        """Tokens of each text without an instruction, `<s>` and `</s>` included, uncut."""
        items = _items([texts] if isinstance(texts, str) else texts)
        return [len(ids) for ids in self._tokenizer.encode([item.text for item in items], "")]

    def close(self) -> None:
        """Let go of the weights once every holder (see `shared_encoder`) has closed; encoding is an error from then on."""
        with self._holders_lock:
            self._holders = max(0, self._holders - 1)
            if not self._holders:
                self._open_pipeline = None

    def hold(self) -> bool:
        """Count one more holder, who closes too; False if the encoder is closed already."""
        with self._holders_lock:
            self._holders += bool(self._holders)
            return bool(self._holders)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[[LoadSettings], "Encoder"], tuple[LoadSettings]]:
        from taskvec.shared import shared

        return shared, (self._settings,)

    def __repr__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        return f"Encoder({self.model_id!r}, device={str(self.device)!r}, dtype={dtype!r})"

    @property
    def _pipeline(self) -> Pipeline:
        if self._open_pipeline is None:
            raise RuntimeError(f"the encoder of {self.model_id} is closed; load it again with from_pretrained")
        return self._open_pipeline

    def _encode(self, texts: str | Iterable[str], late_chunking: bool, settings: Settings) -> Vectors:
        items = list(_items([texts] if isinstance(texts, str) else texts))
        vectors = self._encode_chunked(items, settings) if late_chunking else self._encode_plain(items, settings)
        return vectors[0] if isinstance(texts, str) else vectors

    def _encode_plain(self, items: list[Item], settings: Settings) -> Vectors:
        if not settings.truncate and len(items) > 1:
            self._pipeline.check_lengths(items, settings)
        vectors = np.empty((len(items), settings.dimensions), dtype=np.float32)
        row = 0
        for block in self._pipeline.texts(items, settings, len(items)):
            vectors[row : row + len(block)] = block
            row += len(block)
        return vectors

    def _encode_chunked(self, items: list[Item], settings: Settings) -> Vectors:
        text, spans = join_chunks([item.text for item in items], "")
        return self._encode_spanned([Item(0, text, spans)], settings)[0]

    def _encode_spanned(self, items: list[Item], settings: Settings) -> list[Vectors]:
        counts = [len(item.spans) for item in items]
        blocks = [np.empty((0, settings.dimensions), dtype=np.float32)]
        blocks += self._pipeline.documents([item for item in items if item.spans], settings, sum(counts))
        return np.split(np.concatenate(blocks), np.cumsum(counts)[:-1]) if items else []

    def _resolve(self, default_task: Task, options: EncodeOptions) -> Settings:
        unknown = options.keys() - EncodeOptions.__annotations__
        if unknown:
            known = ", ".join(EncodeOptions.__annotations__)
            raise TypeError(f"unknown option {min(unknown)!r}: the options are {known}")
        named = options.get("task", default_task)
        task = None if named is None else Task(named)
        if task is not None and task not in self.tasks:
            known = ", ".join(self.tasks) or "none"
            raise ValueError(f"this checkpoint has no adapter for {task}: it has {known}; task=None runs the bare model")
        own = options.get("instruction")
        if own and (used := self.count_tokens(own)[0]) >= self.max_tokens:
            raise ValueError(f"the instruction takes {used} of {self.max_tokens} tokens and leaves no room for a text")
        return Settings(
            task=task,
            dimensions=check_dimensions(options.get("dimensions"), self.dimensions),
            instruction=own if own is not None else self._instructions[task] if task else "",
            normalize=options.get("normalize", True),
            truncate=options.get("truncate", True),
            progress=options.get("progress", False),
            usage=options.get("usage") or Usage(),
        )


def _items(texts: Iterable[str], name: str = "text") -> Iterator[Item]:
    """Texts with their positions; anything tokenizers cannot read is an error that names the position."""
    if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
        raise TypeError(f"{name}s must be an iterable of str, got {type(texts).__name__}")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{name} {index} is {type(text).__name__}, a str was expected")
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise ValueError(
                    f"{name} {index} has a lone surrogate at character {error.start}, which is no text: "
                    "clean it with text.encode('utf-8', 'replace').decode()"
                ) from None
        yield Item(index, text)
