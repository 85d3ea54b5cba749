"""The transformer forward over one packed batch. Knows tensors, not files, text or tasks.

Post-LN XLM-RoBERTa with rotary positions and exact GELU, as `JinaEmbeddingsV3Model` in transformers computes it. Written out
here: driving that class over packed batches is as fast, but takes its attention and mask registries, three seconds of imports,
and a copy of what the bodies of all tasks share (benchmarks/README.md has the figures).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from taskvec.attention import Attention
from taskvec.checkpoint.config import ModelConfig
from taskvec.linear import LinearLike
from taskvec.packing import PackedTensors


class Norm(NamedTuple):
    """LayerNorm over the width: weight and bias (width,)."""

    weight: Tensor
    bias: Tensor
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        """x (T, width) -> (T, width)."""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class Layer(NamedTuple):
    """One transformer layer; `qkv` holds the rows of the query, key and value projections."""

    qkv: LinearLike
    out: LinearLike
    attention_norm: Norm
    fc1: LinearLike
    fc2: LinearLike
    mlp_norm: Norm


class Embeddings(NamedTuple):
    """Word table (vocab, width), token type 0 (width,) float32, LayerNorm in float32, the task's low-rank part or None."""

    words: Tensor
    token_type: Tensor
    norm: Norm
    update: tuple[Tensor, Tensor] | None

    def __call__(self, ids: Tensor, dtype: torch.dtype) -> Tensor:
        """ids (T,) -> (T, width); summed and normalized in float32 so that an unmerged update loses nothing."""
        x = F.embedding(ids, self.words).float()
        if self.update is not None:
            left, right = self.update
            x = x + F.embedding(ids, left) @ right
        normed: Tensor = self.norm(x + self.token_type)
        return normed.to(dtype)


@dataclass(frozen=True)
class Body:
    """All weights of one task. Bodies of different tasks share the word table, norms and biases."""

    embeddings: Embeddings
    layers: Sequence[Layer]


@dataclass(frozen=True)
class Transformer:
    """The architecture, ready to run any body: heads, rotary tables (cos (positions, head_dim), sin half as wide), attention."""

    heads: int
    rope: tuple[Tensor, Tensor]
    attention: Attention

    @classmethod
    def create(cls, config: ModelConfig, device: torch.device, dtype: torch.dtype, attention: Attention) -> "Transformer":
        """Precompute RoPE for every position of the context: angle = position * theta ** (-2 i / head_dim)."""
        exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
        angles = torch.arange(config.max_tokens, dtype=torch.float32)[:, None] * (1 / config.rope_theta**exponents)
        rope = (angles.cos().repeat(1, 2).to(device, dtype), angles.sin().to(device, dtype))
        return cls(config.heads, rope, attention)

    def __call__(self, body: Body, batch: PackedTensors) -> Tensor:
        """The last hidden states (T, width) of a packed batch, in the body's dtype."""
        cos, sin = (F.embedding(batch.positions, table).unsqueeze(1).unsqueeze(1) for table in self.rope)
        x = body.embeddings(batch.ids, cos.dtype)
        for layer in body.layers:
            x = layer.attention_norm(layer.out.add(self._attend(layer, x, cos, sin, batch), x))
            x = layer.mlp_norm(layer.fc2.add(layer.fc1.gelu(x), x))
        return x

    def _attend(self, layer: Layer, x: Tensor, cos: Tensor, sin: Tensor, batch: PackedTensors) -> Tensor:
        qkv = layer.qkv(x).view(len(x), 3, self.heads, -1)
        return self.attention(qkv, cos, sin, batch).flatten(1)
