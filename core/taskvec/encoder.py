"""Encoder: the public face. Checks what it is given and hands it to the pipeline; every step lives in its own module."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

import numpy as np
import torch

from taskvec.checkpoint.fingerprint import fingerprint
from taskvec.devices import release_cache
from taskvec.inputs import Item, read_chunks, read_spanned, read_spans, read_texts
from taskvec.late_chunking import Span, join_chunks
from taskvec.loading import Device, LoadSettings, Parts, load
from taskvec.model_names import DEFAULT_MODEL
from taskvec.options import EncodeOptions, Settings, Usage, check_flag, resolve
from taskvec.packing import Batch
from taskvec.pipeline import Pipeline, Prepared
from taskvec.pooling import Vectors
from taskvec.progress import Progress
from taskvec.registry import Registry
from taskvec.tasks import DOCUMENT_TASK, QUERY_TASK, Task
from taskvec.threads import run_in_thread

_shared: Registry[LoadSettings, "Encoder"] = Registry()


class Encoder:
    """jina-embeddings-v3 on one device or several: task, dimensions and late chunking for any number of texts.

    Made by `from_pretrained`. Thread-safe, so share one; `close()` or a with-block frees its memory.

    Attributes:
        tasks: The tasks the checkpoint has adapters for.
        dimensions: The full width of a vector.
        max_tokens: The context, special tokens and instruction included.
        model_id: The name that was loaded.
        device: The first of the devices.
        dtype: That of the weights.
        max_batch_tokens: The tokens of a batch.
        load_settings: What `from_pretrained` was given.
    """

    def __init__(self, parts: Parts, settings: LoadSettings) -> None:
        self.tasks = parts.tasks
        self.dimensions = parts.config.width
        self.max_tokens = parts.config.max_tokens
        self.model_id = parts.located.model_id
        self.device = parts.runners[0].device
        self.dtype = parts.runners[0].dtype
        self.max_batch_tokens = parts.max_batch_tokens
        self.load_settings = settings
        self._located = parts.located
        self._tokenizer = parts.tokenizer
        self._instructions = parts.config.instructions
        self._open_pipeline: Pipeline | None = Pipeline(parts.tokenizer, parts.runners, self.max_tokens, self.max_batch_tokens)
        self._holders = 1
        self._holders_lock = threading.Lock()

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = DEFAULT_MODEL,
        *,
        revision: str | None = None,
        device: Device | Sequence[Device] | None = None,
        dtype: str | torch.dtype | None = None,
        max_batch_tokens: int | None = None,
        max_bodies: int | None = None,
        merge_adapters: bool = True,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        token: str | None = None,
    ) -> Self:
        """Load a model from a hub id or a local folder, in either published layout, running none of its code.

        revision: branch, tag or commit on the hub. device: None takes CUDA, else MPS, else the CPU; a list runs batches on all of
        them. dtype: "float32", "bfloat16", "float16"; None takes the fastest faithful one; "int8" (CPU) is that of the weights,
        smaller and faster, with vectors at a cosine of .99 to 1 to the others. max_batch_tokens: tokens of a batch.
        max_bodies: how many tasks' merged weights are kept on a device; None keeps every task used. merge_adapters=False
        keeps one set of weights and applies the adapters on the fly, slower and smaller. cache_dir, local_files_only,
        token: as in huggingface_hub; the token is never logged or pickled.

        Raises CheckpointError for a folder that cannot be loaded faithfully; FileNotFoundError, PermissionError, ConnectionError
        or OSError where it cannot be fetched; ValueError for other unusable values. Messages say what to do.
        """
        settings = LoadSettings(
            model=model,
            revision=revision,
            device=device,
            dtype=dtype,
            max_batch_tokens=max_batch_tokens,
            max_bodies=max_bodies,
            merge_adapters=merge_adapters,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
        )
        return cls(load(settings), settings)

    @classmethod
    def from_settings(cls, settings: LoadSettings) -> "Encoder":
        """The encoder of these settings that this process shares (see `shared_encoder`); unpickling comes here."""
        return _shared.get(settings, lambda: Encoder(load(settings), settings))

    def encode(
        self,
        texts: str | Iterable[str],
        *,
        task: Task | str | None = Task.TEXT_MATCHING,
        dimensions: int | None = None,
        late_chunking: bool = False,
        instruction: str | None = None,
        normalize: bool = True,
        truncate: bool = True,
        progress: Progress = False,
        usage: Usage | None = None,
    ) -> Vectors:
        """Vectors of texts: (n, dimensions) float32 in input order, (dimensions,) for a single str.

        task: one of the five, or None for the bare model without adapter and instruction. dimensions: 1 to the model's
        width; cut, then normalised. late_chunking: the texts are the consecutive chunks of one document and share its
        context. instruction: None puts the task's own before each text, "" none, else this one. normalize: to unit
        length. truncate: cut texts at `max_tokens`; False raises ValueError with index, tokens and limit before anything
        is encoded (late chunking has windows and never cuts). progress: True for a bar, or a function of (done, total).
        usage: a Usage to add to.

        Raises TypeError with the index for anything but a str, ValueError for values out of range.
        """
        options: EncodeOptions = {
            "task": task,
            "dimensions": dimensions,
            "instruction": instruction,
            "normalize": normalize,
            "truncate": truncate,
            "progress": progress,
            "usage": usage,
        }
        return self._encode(texts, late_chunking, self._resolve(options))

    def encode_queries(self, texts: str | Iterable[str], **options: Unpack[EncodeOptions]) -> Vectors:
        """`encode` with the task of a text that searches, retrieval.query."""
        return self._encode(texts, False, self._resolve(options, QUERY_TASK))

    def encode_documents(
        self, texts: str | Iterable[str], *, late_chunking: bool = False, **options: Unpack[EncodeOptions]
    ) -> Vectors:
        """`encode` with the task of a text that is indexed, retrieval.passage."""
        return self._encode(texts, late_chunking, self._resolve(options, DOCUMENT_TASK))

    def encode_spans(
        self, texts: Iterable[str], spans: Iterable[Iterable[Span]], **options: Unpack[EncodeOptions]
    ) -> list[Vectors]:
        """Late chunking: for each document the vectors (n_spans, dimensions) of its character spans, in the order given.

        A document is encoded once (in overlapping windows beyond `max_tokens`) and each span pooled from the tokens that begin in
        it; spans may overlap and leave gaps. The default task is retrieval.passage; options as in `encode`, where truncate
        has nothing to cut. An empty or out-of-range span is a ValueError with document and span.
        """
        return self._encode_spanned(read_spans(texts, spans), self._resolve(options, DOCUMENT_TASK))

    def encode_chunks(self, documents: Iterable[Iterable[str]], **options: Unpack[EncodeOptions]) -> list[Vectors]:
        """Late chunking of documents given as lists of chunk texts: one (n_chunks, dimensions) each.

        The chunks of a document are joined by a space and encoded as in `encode_spans`. An empty chunk is a ValueError.
        """
        return self._encode_spanned(read_chunks(documents), self._resolve(options, DOCUMENT_TASK))

    def encode_iter(self, texts: Iterable[str], **options: Unpack[EncodeOptions]) -> Iterator[Vectors]:
        """Vectors (dimensions,) of any iterable, one by one in input order, in bounded memory; options as in `encode`.

        The iterable is read a block at a time in the caller's thread. An error in it, a text that is no str or too long for
        truncate=False included, is raised after the vectors of the texts before it.
        """
        settings = self._resolve(options, Task.TEXT_MATCHING)
        if isinstance(texts, str):
            raise TypeError("texts is a str, an iterable of texts was expected: use encode for a single text")
        blocks = self._pipeline.texts(read_texts(texts), settings, None)
        return (vector for block in blocks for vector in block)

    def encode_spans_iter(
        self, documents: Iterable[tuple[str, Iterable[Span]]], **options: Unpack[EncodeOptions]
    ) -> Iterator[Vectors]:
        """`encode_spans` of any iterable of (text, spans) pairs: (n_spans, dimensions) for each, in order, in bounded memory.

        Reads and raises as `encode_iter` does.
        """
        settings = self._resolve(options, DOCUMENT_TASK)
        return self._pipeline.documents(read_spanned(documents), settings, None)

    async def aencode(
        self, texts: str | Iterable[str], *, late_chunking: bool = False, **options: Unpack[EncodeOptions]
    ) -> Vectors:
        """`encode` in a thread; cancelling it ends the work at the next batch."""
        return await run_in_thread(self.encode, texts, late_chunking=late_chunking, **options)

    async def aencode_queries(self, texts: str | Iterable[str], **options: Unpack[EncodeOptions]) -> Vectors:
        """`encode_queries` in a thread; cancelling it ends the work at the next batch."""
        return await run_in_thread(self.encode_queries, texts, **options)

    async def aencode_documents(
        self, texts: str | Iterable[str], *, late_chunking: bool = False, **options: Unpack[EncodeOptions]
    ) -> Vectors:
        """`encode_documents` in a thread; cancelling it ends the work at the next batch."""
        return await run_in_thread(self.encode_documents, texts, late_chunking=late_chunking, **options)

    async def aencode_spans(
        self, texts: Iterable[str], spans: Iterable[Iterable[Span]], **options: Unpack[EncodeOptions]
    ) -> list[Vectors]:
        """`encode_spans` in a thread; cancelling it ends the work at the next batch."""
        return await run_in_thread(self.encode_spans, texts, spans, **options)

    async def aencode_chunks(self, documents: Iterable[Iterable[str]], **options: Unpack[EncodeOptions]) -> list[Vectors]:
        """`encode_chunks` in a thread; cancelling it ends the work at the next batch."""
        return await run_in_thread(self.encode_chunks, documents, **options)

    def prepare(self, texts: Iterable[str], *, late_chunking: bool = False, **options: Unpack[EncodeOptions]) -> Prepared:
        """`encode` as far as the tokens, for a scheduler that runs the texts of many calls together.

        Run its sequences with `run`, add up their pools row by row, and `Prepared.finish` makes the vectors of `encode`. Checks
        and raises as `encode` does; TypeError for progress and usage, which are the scheduler's (`Prepared.usage`).
        """
        for name in ("progress", "usage"):
            if name in options:
                raise TypeError(f"{name} is for calls that run: leave it out, Prepared.usage has what the call costs")
        check_flag("late_chunking", late_chunking)
        settings = self._resolve(options, Task.TEXT_MATCHING)
        items = list(read_texts(texts))
        if late_chunking:
            document = Item(0, *join_chunks([item.text for item in items], ""))
            return self._pipeline.prepare_documents([document], settings)
        return self._pipeline.prepare_texts(items, settings)

    def run(self, batch: Batch, task: Task | None, *, device: int = 0) -> Vectors:
        """The pools of a batch of prepared sequences of one task: (K, width) float32 in the order of `batch.pools`.

        Neither weighted nor normalised; device: the number of the device in the list that was loaded on.
        """
        return self._pipeline.run(batch, task, self.dimensions, device)

    @property
    def devices(self) -> list[torch.device]:
        """All devices that batches run on; `device` is the first."""
        return self._pipeline.devices

    @cached_property
    def fingerprint(self) -> str:
        """Identifies weights and pooling: ``model@commit/mean``, or ``sha256:.../mean`` for a local folder."""
        return fingerprint(self._located)

    def count_tokens(self, texts: str | Iterable[str]) -> list[int]:
        """Tokens of each text without an instruction, `<s>` and `</s>` included, uncut."""
        return [len(ids) for ids in self._tokenizer.encode([item.text for item in read_texts(texts)], "")]

    def close(self) -> None:
        """Let go of the weights once every holder (see `shared_encoder`) has closed; encoding is an error from then on."""
        with self._holders_lock:
            self._holders = max(0, self._holders - 1)
            if self._holders or self._open_pipeline is None:
                return
            devices = self._open_pipeline.devices
            self._open_pipeline = None
        for device in devices:
            release_cache(device)

    def hold(self) -> bool:
        """Count one more holder, who closes too; False if the encoder is closed already."""
        with self._holders_lock:
            if self._holders:
                self._holders += 1
            return self._holders > 0

    def __enter__(self) -> Self:
        _ = self._pipeline  # an error if it is closed
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[[LoadSettings], "Encoder"], tuple[LoadSettings]]:
        return Encoder.from_settings, (self.load_settings,)

    def __deepcopy__(self, memo: object) -> Self:
        if not self.hold():
            _ = self._pipeline
        return self

    def __repr__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        closed = "" if self._holders else ", closed"
        return f"Encoder({self.model_id!r}, device={str(self.device)!r}, dtype={dtype!r}{closed})"

    @property
    def _pipeline(self) -> Pipeline:
        if self._open_pipeline is None:
            raise RuntimeError(f"the encoder of {self.model_id} is closed; load it again with from_pretrained")
        return self._open_pipeline

    def _resolve(self, options: EncodeOptions, default_task: Task | None = None) -> Settings:
        settings = resolve(options, default_task, self.dimensions, self.tasks, self._instructions)
        if settings.instruction and (used := self.count_tokens(settings.instruction)[0]) >= self.max_tokens:
            raise ValueError(f"the instruction takes {used} of {self.max_tokens} tokens and leaves no room for a text")
        return settings

    def _encode(self, texts: str | Iterable[str], late_chunking: bool, settings: Settings) -> Vectors:
        check_flag("late_chunking", late_chunking)
        items = list(read_texts(texts))
        if late_chunking:
            document = Item(0, *join_chunks([item.text for item in items], ""))
            vectors = self._encode_spanned([document], settings)[0]
        else:
            vectors = self._encode_plain(items, settings)
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

    def _encode_spanned(self, items: list[Item], settings: Settings) -> list[Vectors]:
        return list(self._pipeline.documents(items, settings, sum(len(item.spans) for item in items)))
