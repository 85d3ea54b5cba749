"""Task bodies: LoRA merged into the weights once per task, in float32, and the few bodies in use kept.

Knows the checkpoint and the model's parts; how many bodies fit is the caller's choice.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor

from taskvec.checkpoint.layout import QKV, TOKEN_TYPES, WORDS
from taskvec.checkpoint.lora import LowRank
from taskvec.checkpoint.read import Checkpoint
from taskvec.linear import Linear, LinearLike, MakeLinear
from taskvec.model import Body, Embeddings, Layer, Norm
from taskvec.tasks import Task

Modules = tuple[str, ...]
Updates = Mapping[str, LowRank]

# Weights pass through float32 in pieces of this many values (8 MB), so loading needs hardly more than the result.
MERGE_PIECE_VALUES = 2 * 2**20


class Bodies:
    """The weights of each task, built on first use from a checkpoint. Safe to share between threads.

    Args:
        checkpoint: Where the weights are read from.
        device: Where bodies are.
        dtype: That of plain layers and of activations.
        make_linear: Makes the linear layers of merged weights.
        merge: False applies adapters on the fly.
        limit: The number of bodies kept, the most recently used ones; None keeps all.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: torch.device,
        dtype: torch.dtype,
        make_linear: MakeLinear,
        *,
        merge: bool = True,
        limit: int | None = None,
    ) -> None:
        self._builder = BodyBuilder(checkpoint, device, dtype, make_linear, merge)
        self._limit = limit
        self._bodies: OrderedDict[Task | None, Body] = OrderedDict()
        self._lock = threading.Lock()
        self._building = threading.Lock()

    def get(self, task: Task | None) -> Body:
        """The body of a task (None: the bare model), built if need be; the least recently used one is dropped to make room."""
        body = self._known(task)
        if body is not None:
            return body
        with self._building:
            body = self._known(task)
            if body is None:
                self._make_room()
                body = self._builder.build(task)
                with self._lock:
                    self._bodies[task] = body
            return body

    def _known(self, task: Task | None) -> Body | None:
        with self._lock:
            if task in self._bodies:
                self._bodies.move_to_end(task)
            return self._bodies.get(task)

    def _make_room(self) -> None:
        with self._lock:
            while self._limit is not None and len(self._bodies) >= self._limit:
                self._bodies.popitem(last=False)


class BodyBuilder:
    """Reads a checkpoint into bodies; what all tasks share (word table, norms, biases, unmerged weights) is read once."""

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, make_linear: MakeLinear, merge: bool
    ) -> None:
        self._checkpoint = checkpoint
        self._device = device
        self._dtype = dtype
        self._merge = merge
        self._make_linear = make_linear
        # Where layers keep a copy in an order of their own, all are merged in one place, which spares the heap many holes.
        largest = max(checkpoint.config.intermediate, 3 * checkpoint.config.width) * checkpoint.config.width
        self._scratch = torch.empty(largest, dtype=dtype) if merge and self._make_linear is not Linear else None
        self._plain: dict[Modules, Tensor] = {}
        self._words = self._weight((WORDS,), {}, dtype)
        self._vectors = {
            name: ref.read().to(device, torch.float32 if name.startswith("embeddings.") else dtype)
            for name, ref in checkpoint.weights.items()
            if len(ref.shape) == 1
        }

    def build(self, task: Task | None) -> Body:
        """All weights of a task the checkpoint has an adapter for, or of the bare model."""
        updates = self._checkpoint.adapters[task] if task is not None else {}
        embeddings = Embeddings(
            words=self._words,
            token_type=self._weight((TOKEN_TYPES,), updates, torch.float32)[0],
            norm=self._norm("embeddings.LayerNorm"),
            update=self._factors((WORDS,), updates, torch.float32),
        )
        return Body(embeddings, [self._layer(f"layers.{i}", updates) for i in range(self._checkpoint.config.layers)])

    def _layer(self, name: str, updates: Updates) -> Layer:
        return Layer(
            qkv=self._linear(tuple(f"{name}.self_attn.{part}" for part in QKV), updates),
            out=self._linear((f"{name}.self_attn.o_proj",), updates),
            attention_norm=self._norm(f"{name}.post_attention_layernorm"),
            fc1=self._linear((f"{name}.mlp.fc1",), updates),
            fc2=self._linear((f"{name}.mlp.fc2",), updates),
            mlp_norm=self._norm(f"{name}.post_mlp_layernorm"),
        )

    def _norm(self, name: str) -> Norm:
        return Norm(self._vectors[f"{name}.weight"], self._vectors[f"{name}.bias"], self._checkpoint.config.layer_norm_eps)

    def _linear(self, modules: Modules, updates: Updates) -> LinearLike:
        """One Linear for modules that read the same input (query, key and value), their rows one below the other."""
        biases = [self._vectors[f"{module}.bias"] for module in modules]
        bias = torch.cat(biases) if len(biases) > 1 else biases[0]
        if self._merge:
            return self._make_linear(self._weight(modules, updates, self._dtype, self._scratch), bias)
        if modules not in self._plain:
            self._plain[modules] = self._weight(modules, {}, self._dtype)
        return Linear(self._plain[modules], bias, self._factors(modules, updates, self._dtype))

    def _weight(self, modules: Modules, updates: Updates, dtype: torch.dtype, scratch: Tensor | None = None) -> Tensor:
        """Weights of modules, rows stacked, each with its update added in float32 before the cast to `dtype`.

        `scratch`, of that dtype and large enough, is where the result is put; None makes a new tensor.
        """
        refs = [self._checkpoint.weights[f"{module}.weight"] for module in modules]
        rows, columns = sum(ref.shape[0] for ref in refs), refs[0].shape[1]
        if scratch is None:
            scratch = torch.empty(rows * columns, dtype=dtype, device=self._device)
        out = scratch[: rows * columns].view(rows, columns)
        end = 0
        for module, ref in zip(modules, refs, strict=True):
            factors = self._factors((module,), updates, torch.float32)
            start, end = end, end + ref.shape[0]
            for first in range(0, ref.shape[0], step := max(1, MERGE_PIECE_VALUES // columns)):
                last = min(first + step, ref.shape[0])
                piece = ref.read(first, last).to(self._device)
                if factors is not None:
                    piece = torch.addmm(piece.float(), factors[0][first:last], factors[1])
                out[start + first : start + last] = piece
        return out

    def _factors(self, modules: Modules, updates: Updates, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
        """LoRA factors of modules with the scale in the left one: left (rows, r), right (r, columns); None without."""
        present = [updates[module] for module in modules if module in updates]
        if not present:
            return None
        lefts = [
            update.left.read().float() * update.scale if update else torch.zeros(rows, 0)
            for update, rows in ((updates.get(m), self._checkpoint.weights[f"{m}.weight"].shape[0]) for m in modules)
        ]
        rights = [update.right.read().float() for update in present]
        left: Tensor = torch.block_diag(*lefts)  # type: ignore[no-untyped-call]
        return left.to(self._device, dtype), torch.cat(rights).to(self._device, dtype)
