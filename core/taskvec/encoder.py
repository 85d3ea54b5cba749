"""Encoder: the public face. Checks what it gets and hands it to the pipeline; every step lives in its own module."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

import torch

from taskvec.block_tokenizer import BlockTokenizer
from taskvec.checkpoint.fingerprint import fingerprint
from taskvec.devices import release_cache
from taskvec.inputs import Item, read_chunks, read_spanned, read_spans, read_texts
from taskvec.late_chunking import Span, join_chunks
from taskvec.loading import Device, EncoderParts, LoadSettings, load
from taskvec.names import DEFAULT_MODEL
from taskvec.options import EncodeOptions, EncodeSettings, Usage, check_flag, resolve
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

    Load one with `Encoder.from_pretrained`. It is safe to share between threads, so one per process is enough; `close()` or a
    with-block frees its memory.

    Example:
        >>> encoder = Encoder.from_pretrained()
        >>> documents = encoder.encode_documents(["The aurora is light from excited oxygen.", "Yeast makes bread rise."])
        >>> query = encoder.encode_queries("why does the sky glow green?")
        >>> scores = documents @ query

    Args:
        parts: The loaded model, as `taskvec.loading.load` returns it.
        settings: What it was loaded with; pickles and `repr` show it.

    Attributes:
        tasks: The tasks the checkpoint has adapters for.
        dimensions: The full width of a vector.
        max_tokens: The context in tokens, special tokens and instruction included.
        model_id: The name that was loaded.
        device: The first of the devices.
        dtype: The dtype of the weights.
        max_batch_tokens: The most tokens in a batch.
        load_settings: The arguments of `from_pretrained`.
    """

    def __init__(self, parts: EncoderParts, settings: LoadSettings) -> None:
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
        tokenizer = BlockTokenizer(parts.tokenizer, self.max_tokens)
        self._open_pipeline: Pipeline | None = Pipeline(tokenizer, parts.runners, self.max_batch_tokens)
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
        """Load a model from the Hugging Face hub or from a local folder, without running any code of it.

        Args:
            model: A hub id, a local folder in either published layout, or "mini" for the small English model in the package.
            revision: A branch, tag or commit on the hub; None for the newest.
            device: "cpu", "cuda", "cuda:1" or "mps". None chooses CUDA, else MPS, else the CPU. A list runs batches on all of
                its devices.
            dtype: "float32", "bfloat16" or "float16". None chooses the fastest one that keeps the vectors. "int8" (CPU only)
                quantizes the weights: smaller and faster, with vectors at a cosine of 0.99 to 1 to the others.
            max_batch_tokens: The most tokens in a batch; None chooses by the device.
            max_bodies: For how many tasks merged weights are kept on a device; None keeps those of every task that is used.
            merge_adapters: False keeps one set of weights and applies the adapters on the fly, which is slower and smaller.
            cache_dir: Where the hub's files are kept, as in huggingface_hub.
            local_files_only: Use the local cache only, never the network.
            token: An access token of the hub. It is never logged or pickled.

        Returns:
            An encoder that is ready to use.

        Raises:
            CheckpointError: The folder cannot be loaded faithfully.
            FileNotFoundError: There is no such folder, model or revision.
            PermissionError: The model is gated, or its files may not be read.
            ConnectionError: The model is not in the cache and the hub cannot be reached.
            OSError: The download failed for another reason, such as a full disk.
            TypeError: An argument has the wrong type.
            ValueError: An argument has a value that cannot be used, such as a device that this machine lacks.
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
        """The encoder of these settings that this process shares (see `shared_encoder`); unpickling comes here.

        Args:
            settings: The arguments of `from_pretrained`, which raises the same errors.

        Returns:
            The shared encoder. Every caller closes it once.
        """
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
        """Encode texts: one vector for each.

        Args:
            texts: One text, or any number of them.
            task: What the vectors are for: "retrieval.query", "retrieval.passage", "separation", "classification" or
                "text-matching". None runs the bare model, without adapter and instruction.
            dimensions: From 1 to the model's width, which is the default. Vectors are cut to it before they are normalized.
            late_chunking: The texts are the consecutive chunks of one document and share its context.
            instruction: Put before each text. None is the task's own, "" is none.
            normalize: Scale vectors to unit length.
            truncate: Cut texts at `max_tokens`. False raises an error before anything is encoded. Late chunking has windows
                instead and never cuts.
            progress: True draws a bar. A function is called with (vectors done, vectors in all) after every batch.
            usage: A `Usage` that the cost of this call is added to.

        Returns:
            (n, dimensions) float32 in the order of the texts; (dimensions,) for a single str.

        Raises:
            TypeError: A text is not a str, or an option has the wrong type. The message names the index of the text.
            ValueError: An option is out of range, or a text is longer than `max_tokens` and `truncate` is False. The message
                names index, tokens and limit.
            MemoryError: The model, or a single text, does not fit into the free memory of the device.
            RuntimeError: The encoder is closed, or the process was forked after a model was loaded.
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
        """Encode texts that search: `encode` with the task retrieval.query.

        Args:
            texts: One text, or any number of them.
            **options: As in `encode`.

        Returns:
            (n, dimensions) float32; (dimensions,) for a single str.

        Raises:
            TypeError: As in `encode`.
            ValueError: As in `encode`.
        """
        return self._encode(texts, False, self._resolve(options, QUERY_TASK))

    def encode_documents(
        self, texts: str | Iterable[str], *, late_chunking: bool = False, **options: Unpack[EncodeOptions]
    ) -> Vectors:
        """Encode texts that are indexed: `encode` with the task retrieval.passage.

        Args:
            texts: One text, or any number of them.
            late_chunking: The texts are the consecutive chunks of one document and share its context.
            **options: As in `encode`.

        Returns:
            (n, dimensions) float32; (dimensions,) for a single str.

        Raises:
            TypeError: As in `encode`.
            ValueError: As in `encode`.
        """
        return self._encode(texts, late_chunking, self._resolve(options, DOCUMENT_TASK))

    def encode_spans(
        self, texts: Iterable[str], spans: Iterable[Iterable[Span]], **options: Unpack[EncodeOptions]
    ) -> list[Vectors]:
        """Encode documents by late chunking: one vector for each character span.

        A document is encoded once (in overlapping windows beyond `max_tokens`), and each span is pooled from the tokens that
        begin in it. Spans may overlap and leave gaps.

        Args:
            texts: The documents.
            spans: For each document its spans, pairs of characters (start, stop).
            **options: As in `encode`, with the default task retrieval.passage; `truncate` has nothing to cut.

        Returns:
            For each document (n_spans, dimensions) float32 in the order of its spans.

        Raises:
            TypeError: As in `encode`.
            ValueError: A span is empty or outside its text, or as in `encode`. The message names document and span.
        """
        items, settings = read_spans(texts, spans), self._resolve(options, DOCUMENT_TASK)
        return self._pipeline.encode_documents(items, settings)

    def encode_chunks(self, documents: Iterable[Iterable[str]], **options: Unpack[EncodeOptions]) -> list[Vectors]:
        """Encode documents by late chunking: one vector for each chunk.

        The chunks of a document are joined by a space and encoded as in `encode_spans`.

        Args:
            documents: For each document its chunks in order.
            **options: As in `encode`, with the default task retrieval.passage; `truncate` has nothing to cut.

        Returns:
            For each document (n_chunks, dimensions) float32.

        Raises:
            TypeError: As in `encode`.
            ValueError: A chunk is empty, or as in `encode`. The message names document and chunk.
        """
        items, settings = read_chunks(documents), self._resolve(options, DOCUMENT_TASK)
        return self._pipeline.encode_documents(items, settings)

    def encode_iter(self, texts: Iterable[str], **options: Unpack[EncodeOptions]) -> Iterator[Vectors]:
        """Encode any iterable of texts in bounded memory: vectors come one by one.

        The iterable is read a block at a time in the caller's thread. An error in it is raised after the vectors of the texts
        before it; so is that of a text that is not a str or too long for truncate=False.

        Args:
            texts: Any iterable, an endless one included.
            **options: As in `encode`.

        Yields:
            (dimensions,) float32 for each text, in order.

        Raises:
            TypeError: As in `encode`.
            ValueError: As in `encode`.
        """
        settings = self._resolve(options, Task.TEXT_MATCHING)
        if isinstance(texts, str):
            raise TypeError("texts is a str, but an iterable of texts was expected: use encode for a single text")
        blocks = self._pipeline.iter_texts(read_texts(texts), settings)
        return (vector for block in blocks for vector in block)

    def encode_spans_iter(
        self, documents: Iterable[tuple[str, Iterable[Span]]], **options: Unpack[EncodeOptions]
    ) -> Iterator[Vectors]:
        """`encode_spans` of any iterable in bounded memory: it is read, and raises, as in `encode_iter`.

        Args:
            documents: Pairs of a text and its spans.
            **options: As in `encode_spans`.

        Yields:
            (n_spans, dimensions) float32 for each document, in order.

        Raises:
            TypeError: As in `encode_spans`.
            ValueError: As in `encode_spans`.
        """
        settings = self._resolve(options, DOCUMENT_TASK)
        return self._pipeline.iter_documents(read_spanned(documents), settings)

    async def aencode(
        self, texts: str | Iterable[str], *, late_chunking: bool = False, **options: Unpack[EncodeOptions]
    ) -> Vectors:
        """`encode` in a thread, with the same arguments; canceling it ends the work at the next batch."""
        return await run_in_thread(self.encode, texts, late_chunking=late_chunking, **options)

    async def aencode_queries(self, texts: str | Iterable[str], **options: Unpack[EncodeOptions]) -> Vectors:
        """`encode_queries` in a thread, with the same arguments; canceling it ends the work at the next batch."""
        return await run_in_thread(self.encode_queries, texts, **options)

    async def aencode_documents(
        self, texts: str | Iterable[str], *, late_chunking: bool = False, **options: Unpack[EncodeOptions]
    ) -> Vectors:
        """`encode_documents` in a thread, with the same arguments; canceling it ends the work at the next batch."""
        return await run_in_thread(self.encode_documents, texts, late_chunking=late_chunking, **options)

    async def aencode_spans(
        self, texts: Iterable[str], spans: Iterable[Iterable[Span]], **options: Unpack[EncodeOptions]
    ) -> list[Vectors]:
        """`encode_spans` in a thread, with the same arguments; canceling it ends the work at the next batch."""
        return await run_in_thread(self.encode_spans, texts, spans, **options)

    async def aencode_chunks(self, documents: Iterable[Iterable[str]], **options: Unpack[EncodeOptions]) -> list[Vectors]:
        """`encode_chunks` in a thread, with the same arguments; canceling it ends the work at the next batch."""
        return await run_in_thread(self.encode_chunks, documents, **options)

    def prepare(self, texts: Iterable[str], *, late_chunking: bool = False, **options: Unpack[EncodeOptions]) -> Prepared:
        """`encode` as far as the tokens, for a scheduler that runs the texts of many calls together.

        Run the sequences with `run`, add up their pools row by row, and `Prepared.finish` makes the vectors of `encode`.

        Args:
            texts: Any number of texts.
            late_chunking: As in `encode`.
            **options: As in `encode`, without progress and usage, which belong to the scheduler (`Prepared.usage`).

        Returns:
            The tokenized call.

        Raises:
            TypeError: progress or usage is passed, or as in `encode`.
            ValueError: As in `encode`.
        """
        for name in ("progress", "usage"):
            if name in options:
                raise TypeError(f"{name} is for calls that run at once: leave it out, Prepared.usage has what the call costs")
        check_flag("late_chunking", late_chunking)
        settings = self._resolve(options, Task.TEXT_MATCHING)
        items = list(read_texts(texts))
        if late_chunking:
            return self._pipeline.prepare_documents([_as_document(items)], settings)
        return self._pipeline.prepare_texts(items, settings)

    def run(self, batch: Batch, task: Task | None, *, device: int = 0) -> Vectors:
        """Run a batch of prepared sequences of one task.

        Args:
            batch: Sequences of any calls, with K pools.
            task: The task of all of them; None for the bare model.
            device: The position of the device in `devices`.

        Returns:
            (K, width) float32 in the order of `batch.pools`, neither weighted nor normalized.

        Raises:
            MemoryError: The task's weights, or a single sequence, do not fit into the free memory of the device.
            RuntimeError: The encoder is closed, or the process was forked after a model was loaded.
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
        """Count the tokens of each text as the model would read it without an instruction.

        Args:
            texts: One text, or any number of them.

        Returns:
            For each text its tokens, `<s>` and `</s>` included, not truncated; a list of one for a single str.

        Raises:
            TypeError: A text is not a str.
        """
        return [len(ids) for ids in self._tokenizer.encode([item.text for item in read_texts(texts)], "")]

    def close(self) -> None:
        """Free the weights once every holder (see `shared_encoder`) has closed; from then on encoding is a RuntimeError."""
        with self._holders_lock:
            self._holders = max(0, self._holders - 1)
            if self._holders or self._open_pipeline is None:
                return
            devices = self._open_pipeline.devices
            self._open_pipeline = None
        for device in devices:
            release_cache(device)

    def hold(self) -> bool:
        """Count one more holder, who also has to close it.

        Returns:
            False if the encoder is closed already.
        """
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
            raise RuntimeError(f"the encoder of {self.model_id} is closed: load it again with from_pretrained")
        return self._open_pipeline

    def _resolve(self, options: EncodeOptions, default_task: Task | None = None) -> EncodeSettings:
        settings = resolve(options, default_task, self.dimensions, self.tasks, self._instructions)
        if settings.instruction and (used := self.count_tokens(settings.instruction)[0]) >= self.max_tokens:
            raise ValueError(
                f"the instruction takes {used} of {self.max_tokens} tokens and leaves no room for a text: shorten it"
            )
        return settings

    def _encode(self, texts: str | Iterable[str], late_chunking: bool, settings: EncodeSettings) -> Vectors:
        check_flag("late_chunking", late_chunking)
        items = list(read_texts(texts))
        if late_chunking:
            (vectors,) = self._pipeline.encode_documents([_as_document(items)], settings)
        else:
            vectors = self._pipeline.encode_texts(items, settings)
        return vectors[0] if isinstance(texts, str) else vectors


def _as_document(chunks: Sequence[Item]) -> Item:
    """One document of its consecutive chunks."""
    return Item(0, *join_chunks([chunk.text for chunk in chunks], ""))
