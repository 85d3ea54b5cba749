"""The faithfulness check fails under each way the encoder could be subtly wrong, so passing it means something."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from support.reference import Reference, assert_faithful
from taskvec import Encoder, Task, adapters, attention, linear, packing, pipeline, pooling, runner, tokenizer
from taskvec.checkpoint import lora

Patch = pytest.MonkeyPatch


def wrong_adapter(patch: Patch) -> None:
    right = adapters.BodyBuilder.build
    following = dict(zip([*Task, None], [*list(Task)[1:], None, Task.RETRIEVAL_QUERY], strict=True))
    patch.setattr(adapters.BodyBuilder, "build", lambda self, task: right(self, following[task]))


def without_updates_of(name: str) -> Callable[[Patch], None]:
    def mutate(patch: Patch) -> None:
        right = adapters.BodyBuilder._factors

        def factors(self: Any, modules: Any, *rest: Any) -> Any:
            return None if name in modules[0] else right(self, modules, *rest)

        patch.setattr(adapters.BodyBuilder, "_factors", factors)

    return mutate


def scale_forgotten(patch: Patch) -> None:
    right = lora.LowRank
    patch.setattr(lora, "LowRank", lambda left, right_, scale: right(left, right_, 1.0))


def interleaved_rope(patch: Patch) -> None:
    def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        first, second = x[..., ::2], x[..., 1::2]
        cos = cos[..., : sin.shape[-1]]
        return torch.stack((first * cos - second * sin, second * cos + first * sin), dim=-1).flatten(-2)

    patch.setattr(attention, "rotate", rotate)


def keys_shifted_by_one_position(patch: Patch) -> None:
    right = attention.rotate

    def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        query, key = x.split_with_sizes((1, 1), dim=1)
        return torch.cat((right(query, cos, sin), right(key, cos.roll(1, 0), sin.roll(1, 0))), dim=1)

    patch.setattr(attention, "rotate", rotate)


def frequencies_shifted(patch: Patch) -> None:
    right = torch.arange

    def arange(*args: Any, **kwargs: Any) -> Tensor:
        return right(*args, **kwargs) + (2 if len(args) == 3 else 0)

    patch.setattr(torch, "arange", arange)


def missing_end_token(patch: Patch) -> None:
    right = tokenizer.TextTokenizer.encode
    patch.setattr(tokenizer.TextTokenizer, "encode", lambda *args: [ids[:-1] for ids in right(*args)])


def missing_instruction(patch: Patch) -> None:
    right = tokenizer.TextTokenizer.encode
    patch.setattr(tokenizer.TextTokenizer, "encode", lambda self, texts, instruction: right(self, texts, ""))


def normalized_before_cut(patch: Patch) -> None:
    def mean_pool(hidden: Tensor, batch: Any, dimensions: int) -> Tensor:
        return F.normalize(pooling.mean_pool(hidden, batch, hidden.shape[1]), dim=1)[:, :dimensions]

    patch.setattr(runner, "mean_pool", mean_pool)
    patch.setattr(pipeline, "normalize", lambda vectors: vectors)


def special_tokens_not_pooled(patch: Patch) -> None:
    def whole(ids: Any, row: int) -> Any:
        return packing.TokenSequence(ids, (packing.Pool(row, np.arange(1, len(ids) - 1)),))

    patch.setattr(packing.TokenSequence, "whole", whole)


def attention_leaks(patch: Patch) -> None:
    right = packing.Batch.to

    def to(self: Any, device: torch.device) -> Any:
        packed = right(self, device)
        object.__setattr__(packed, "lengths", (sum(packed.lengths),))
        return packed

    patch.setattr(packing.Batch, "to", to)


def input_order_lost(patch: Patch) -> None:
    def pack(sequences: Any, max_tokens: int) -> Any:
        rows = [pool.row for sequence in sequences for pool in sequence.pools]
        ordered = sorted(sequences, key=lambda sequence: -len(sequence.ids))
        moved = [packing.TokenSequence.whole(s.ids, row) for s, row in zip(ordered, rows, strict=True)]
        return packing.pack(moved, max_tokens)

    patch.setattr(pipeline, "pack", pack)


def tanh_gelu(patch: Patch) -> None:
    for kind in (linear.Linear, linear.PackedLinear):
        patch.setattr(kind, "gelu", lambda self, x: F.gelu(self(x), approximate="tanh"))


def residual_forgotten(patch: Patch) -> None:
    for kind in (linear.Linear, linear.PackedLinear):
        patch.setattr(kind, "add", lambda self, x, residual: self(x))


MUTATIONS = [
    wrong_adapter,
    pytest.param(without_updates_of("word_embeddings"), id="no_adapter_in_word_embeddings"),
    pytest.param(without_updates_of("token_type"), id="no_adapter_in_token_types"),
    pytest.param(without_updates_of("layers.1.mlp.fc2"), id="no_adapter_in_one_linear"),
    pytest.param(without_updates_of("q_proj"), id="no_adapter_in_queries"),
    scale_forgotten,
    interleaved_rope,
    keys_shifted_by_one_position,
    frequencies_shifted,
    missing_end_token,
    missing_instruction,
    normalized_before_cut,
    special_tokens_not_pooled,
    attention_leaks,
    input_order_lost,
    tanh_gelu,
    residual_forgotten,
]


@pytest.fixture(scope="module")
def reference(native: Path) -> Reference:
    return Reference(native)


def test_the_check_passes_without_a_mutation(native: Path, reference: Reference) -> None:
    assert_faithful(Encoder.from_pretrained(native, dtype="float32"), reference)


@pytest.mark.parametrize("mutate", MUTATIONS)
def test_the_check_fails_under(mutate: Callable[[Patch], None], native: Path, reference: Reference, monkeypatch: Patch) -> None:
    with monkeypatch.context() as patch:
        mutate(patch)
        encoder = Encoder.from_pretrained(native, dtype="float32")
        with pytest.raises(AssertionError):
            assert_faithful(encoder, reference)
