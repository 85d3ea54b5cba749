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
from taskvec.config import ModelConfig
from taskvec.packing import PackedTensors


class Linear(NamedTuple):
    """weight (out, in), bias (out,), and for an unmerged adapter its scaled left (out, r) and right (r, in) factors."""

    weight: Tensor
    bias: Tensor
    update: tuple[Tensor, Tensor] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """x (T, in) -> (T, out)."""
        out = F.linear(x, self.weight, self.bias)
        if self.update is None:
            return out
        left, right = self.update
        return out + (x @ right.T) @ left.T


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

    qkv: Linear
    out: Linear
    attention_norm: Norm
    fc1: Linear
    fc2: Linear
    mlp_norm: Norm


class Embeddings(NamedTuple):
    """Word table (vocab, width), token type 0 (width,) float32, LayerNorm in float32, the task's low-rank part or None."""

    words: Tensor
    token_type: Tensor
    norm: Norm
    update: tuple[Tensor, Tensor] | None

    def __call__(self, ids: Tensor, dtype: torch.dtype) -> Tensor:
        """ids (T,) -> (T, width); summed and normalised in float32 so that an unmerged update loses nothing."""
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
    """The architecture, ready to run any body: head layout, rotary table (cos and sin, (positions, head_dim / 2)), attention."""

    heads: int
    rope: tuple[Tensor, Tensor]
    attention: Attention

    @classmethod
    def create(cls, config: ModelConfig, device: torch.device, dtype: torch.dtype, attention: Attention) -> "Transformer":
        """Precompute RoPE for every position of the context: angle = position * theta ** (-2 i / head_dim)."""
        exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
        angles = torch.arange(config.max_tokens, dtype=torch.float32)[:, None] * (1 / config.rope_theta**exponents)
        rope = (angles.cos().to(device, dtype), angles.sin().to(device, dtype))
        return cls(config.heads, rope, attention)

    def __call__(self, body: Body, batch: PackedTensors) -> Tensor:
        """The last hidden states (T, width) of a packed batch, in the body's dtype."""
        cos, sin = (F.embedding(batch.positions, table).unsqueeze(1).unsqueeze(1) for table in self.rope)
        x = body.embeddings(batch.ids, cos.dtype)
        for layer in body.layers:
            x = layer.attention_norm(x + self._attend(layer, x, cos, sin, batch))
            x = layer.mlp_norm(x + layer.fc2(F.gelu(layer.fc1(x))))
        return x

    def _attend(self, layer: Layer, x: Tensor, cos: Tensor, sin: Tensor, batch: PackedTensors) -> Tensor:
        qkv = layer.qkv(x).view(len(x), 3, self.heads, -1)
        q, k = rotate(qkv.narrow(1, 0, 2), cos, sin).unbind(1)
        return layer.out(self.attention(q, k, qkv.select(1, 2), batch).flatten(1))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """RoPE in half-rotation (NeoX) form: x (T, ..., head_dim), cos and sin broadcast over (T, ..., head_dim / 2).

    Source: Su et al. 2021, https://arxiv.org/abs/2104.09864, with the halves of the head as pairs.
    """
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
