"""The CUDA path traced without a GPU: fake tensors carry shapes, dtypes and devices through the real forward.

A tensor left on the CPU raises FakeTensorDeviceMismatchError, a hidden synchronization (`.item()`, `.tolist()`) raises
DataDependentOutputException. What fake tensors cannot know, the numbers, the CPU tests cover: it is the same code.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from taskvec import attention, model
from taskvec.checkpoint.config import ModelConfig
from taskvec.linear import Linear
from taskvec.packing import Batch, PackedTensors, Pool, TokenSequence
from taskvec.pooling import mean_pool

CUDA = torch.device("cuda", 0)
CONFIG = ModelConfig(
    vocab_size=1000, type_vocab_size=1, width=128, layers=2, heads=2, intermediate=256, layer_norm_eps=1e-5,
    rope_theta=20000.0, max_tokens=512, instructions={}, stacked=None,
)  # fmt: skip


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTensorMode]:
    """A world whose CUDA device exists for tensors only. layer_norm asks for a real CUDA build, so it has a stand-in."""

    def layer_norm(x: Tensor, shape: Any, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        assert tuple(shape) == x.shape[-1:]
        return (x - x.mean(-1, keepdim=True)) * torch.rsqrt(x.var(-1, keepdim=True) + eps) * weight + bias

    monkeypatch.setattr(F, "layer_norm", layer_norm)
    with FakeTensorMode() as mode:
        yield mode


def body(dtype: torch.dtype, adapted: bool) -> model.Body:
    def tensor(*shape: int, dtype: torch.dtype = dtype) -> Tensor:
        return torch.empty(*shape, dtype=dtype, device=CUDA)

    def linear(rows: int, columns: int) -> Linear:
        return Linear(tensor(rows, columns), tensor(rows), (tensor(rows, 4), tensor(4, columns)) if adapted else None)

    width, inner = CONFIG.width, CONFIG.intermediate
    norm = model.Norm(tensor(width), tensor(width), CONFIG.layer_norm_eps)
    layer = model.Layer(linear(3 * width, width), linear(width, width), norm, linear(inner, width), linear(width, inner), norm)
    single = {"dtype": torch.float32}
    embeddings = model.Embeddings(
        tensor(1000, width),
        tensor(width, **single),
        model.Norm(tensor(width, **single), tensor(width, **single), 1e-5),
        (tensor(1000, 4, **single), tensor(4, width, **single)),
    )
    return model.Body(embeddings, [layer] * CONFIG.layers)


def packed(lengths: list[int]) -> PackedTensors:
    """A batch as `Batch.to` leaves it on the device: the same arrays, checked below, with their devices changed."""
    starts = np.cumsum([0, *lengths])
    total = int(starts[-1])
    return PackedTensors(
        tuple(lengths),
        torch.empty(total, dtype=torch.int64, device=CUDA),
        torch.empty(total, dtype=torch.int64, device=CUDA),
        torch.empty(len(lengths) + 1, dtype=torch.int32, device=CUDA),
        torch.empty(total, dtype=torch.int64, device=CUDA),
        torch.empty(len(lengths), dtype=torch.int64, device=CUDA),
    )


@pytest.mark.parametrize("adapted", [False, True], ids=["merged", "unmerged"])
@pytest.mark.parametrize("attend", [attention.varlen_attention, attention.grouped_attention])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_forward_stays_on_the_device_without_a_synchronization(
    fake: FakeTensorMode, dtype: torch.dtype, attend: attention.Attention, adapted: bool
) -> None:
    transformer = model.Transformer.create(CONFIG, CUDA, dtype, attend)
    batch = packed([300, 40, 40, 7, 1])
    hidden = transformer(body(dtype, adapted), batch)
    assert (hidden.shape, hidden.dtype, hidden.device) == ((388, 128), dtype, CUDA)
    vectors = mean_pool(hidden, batch, 32)
    assert (vectors.shape, vectors.dtype, vectors.device) == ((5, 32), torch.float32, CUDA)


def test_the_varlen_contract(fake: FakeTensorMode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contiguous-enough (T, heads, head_dim) in half precision, int32 cu_seqlens on the device, host-side maxima."""
    import torch.nn.attention.varlen as varlen

    seen = []

    def varlen_attn(q: Tensor, k: Tensor, v: Tensor, cu_q: Tensor, cu_k: Tensor, max_q: int, max_k: int) -> Tensor:
        seen.append((q, k, v, cu_q, cu_k, max_q, max_k))
        return torch.empty_like(q)

    monkeypatch.setattr(varlen, "varlen_attn", varlen_attn)
    transformer = model.Transformer.create(CONFIG, CUDA, torch.bfloat16, attention.varlen_attention)
    transformer(body(torch.bfloat16, adapted=False), packed([300, 40, 7]))
    assert len(seen) == CONFIG.layers
    for q, k, v, cu_q, cu_k, max_q, max_k in seen:
        for x in (q, k, v):
            assert (x.shape, x.dtype, x.device, x.stride(-1)) == ((347, 2, 64), torch.bfloat16, CUDA, 1)
        assert cu_q is cu_k
        assert (cu_q.dtype, cu_q.device, cu_q.shape) == (torch.int32, CUDA, (4,))
        assert (max_q, max_k) == (300, 300)
        assert type(max_q) is int


def test_a_synchronization_would_be_noticed(fake: FakeTensorMode) -> None:
    """The test of the test: reading one value back from the fake device raises."""
    with pytest.raises(DataDependentOutputException):
        packed([3, 4]).cu_seqlens.max().item()


def test_a_batch_becomes_the_tensors_the_device_expects(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Batch.to` for CUDA: every array pinned, then copied without waiting; on the CPU the same arrays."""
    copies: list[tuple[bool, torch.device, bool]] = []
    pinned: set[int] = set()

    def pin_memory(tensor: Tensor) -> Tensor:
        pinned.add(tensor.data_ptr())
        return tensor

    def to(tensor: Tensor, device: torch.device, non_blocking: bool) -> Tensor:
        copies.append((tensor.data_ptr() in pinned, device, non_blocking))
        return tensor

    sequences = [
        TokenSequence.whole(np.arange(5), 0),
        TokenSequence(np.arange(3), (Pool(1, np.array([0, 2])), Pool(2, np.array([1])))),
    ]
    on_cpu = Batch(sequences).to(torch.device("cpu"))
    monkeypatch.setattr(Tensor, "pin_memory", pin_memory)
    monkeypatch.setattr(Tensor, "to", to)
    on_cuda = Batch(sequences).to(CUDA)
    mps = torch.device("mps")
    Batch(sequences).to(mps)
    monkeypatch.undo()
    assert copies == [(True, CUDA, True)] * 5 + [(False, mps, False)] * 5
    assert on_cuda.lengths == (5, 3)
    assert on_cpu.ids.tolist() == on_cuda.ids.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert on_cpu.positions.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert on_cpu.cu_seqlens.tolist() == [0, 5, 8]
    assert on_cpu.cu_seqlens.dtype == torch.int32
    assert on_cpu.pool_tokens.tolist() == [0, 1, 2, 3, 4, 5, 7, 6]
    assert on_cpu.pool_starts.tolist() == [0, 5, 7]
    with FakeTensorMode():
        expected = packed([5, 3])
    for name in ("ids", "positions", "cu_seqlens", "pool_tokens", "pool_starts"):
        assert getattr(on_cuda, name).dtype == getattr(expected, name).dtype


def test_accelerators_take_batches_in_turn() -> None:
    from taskvec.runner import Runner

    none: Any = None
    assert hasattr(Runner(none, none, CUDA, torch.bfloat16)._turn, "acquire")
    assert not hasattr(Runner(none, none, torch.device("cpu"), torch.float32)._turn, "acquire")
