"""Our own attention for AMX: as exact as torch's, the same alone and in any company, and left out where it cannot be had."""

import ctypes
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from support.checkpoints import Shape, random_weights, write_native
from support.kernels import attention_inputs, packed, rope_tables, survives, threads
from taskvec import Encoder, attention
from taskvec.attention import aligned_attention, amx_attention, amx_works, rotate_qkv
from taskvec.kernels import attention as kernel_attention
from taskvec.kernels import build, library
from taskvec.packing import PackedTensors

needs_amx = pytest.mark.skipif(
    kernel_attention.attention_kernel(64) is None, reason="this machine has no AMX, no C compiler or no OpenMP of torch"
)


def exact(qkv: Tensor, cos: Tensor, sin: Tensor, batch: PackedTensors) -> Tensor:
    """In float64, from angles that were not rounded."""
    q, k, v = rotate_qkv(qkv.double(), *rope_tables(batch.positions, qkv.shape[-1], torch.float64))
    parts = zip(*(x.transpose(0, 1).split_with_sizes(batch.lengths, 1) for x in (q, k, v)), strict=True)
    return torch.cat([F.scaled_dot_product_attention(*part) for part in parts], 1).transpose(0, 1)


def rms(x: Tensor) -> float:
    return float(x.pow(2).mean().sqrt())


@needs_amx
@pytest.mark.parametrize("head_dim", kernel_attention.HEAD_DIMS)
@pytest.mark.parametrize("spread", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("lengths", [(1, 2, 15, 16, 17), (31, 32, 33, 63, 64, 65), (1200, 129, 206, 40)], ids=str)
def test_no_farther_from_float64_than_torch(lengths: tuple[int, ...], spread: float, head_dim: int) -> None:
    qkv, cos, sin, batch = attention_inputs(lengths, head_dim, spread, heads=24)
    wanted = exact(qkv, cos, sin, batch)
    ours, theirs = (attend(qkv, cos, sin, batch).double() - wanted for attend in (amx_attention, aligned_attention))
    assert rms(ours) <= 1.1 * rms(theirs)
    parts = zip(ours.split_with_sizes(lengths), theirs.split_with_sizes(lengths), strict=True)
    for one, other in parts:  # few numbers, so they scatter
        assert rms(one) <= 2 * rms(other)
        assert one.abs().max() <= 2 * other.abs().max()


@needs_amx
@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 150), min_size=1, max_size=7), st.sampled_from(kernel_attention.HEAD_DIMS))
def test_neighbors_and_threads_change_no_bit(lengths: list[int], head_dim: int) -> None:
    qkv, cos, sin, batch = attention_inputs(lengths, head_dim)
    parts = zip(*(x.split_with_sizes(lengths) for x in (qkv, cos, sin)), strict=True)
    alone = [amx_attention(q.clone(), c.clone(), s.clone(), packed([len(q)])) for q, c, s in parts]
    for count in (1, 2, 5):
        with threads(count):
            assert torch.equal(amx_attention(qkv, cos, sin, batch), torch.cat(alone))


@needs_amx
def test_a_long_text_is_split_among_threads_without_a_difference() -> None:
    lengths = (1029, 800)  # the last piece of the first is 5 queries
    qkv, cos, sin, batch = attention_inputs(lengths, 64, spread=3)
    found = []
    for count in (1, 2, 16):
        with threads(count):
            found.append(amx_attention(qkv, cos, sin, batch))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@needs_amx
@pytest.mark.parametrize("head_dim", kernel_attention.HEAD_DIMS)
def test_scores_that_rise_to_the_end(head_dim: int) -> None:
    """The largest score comes in the last block, powers of two above all before: what was summed up must be scaled down."""
    qkv, cos, sin, batch = attention_inputs([400], head_dim)
    qkv[:, 1] = qkv[:1, 0] * torch.linspace(-40, 40, 400).view(-1, 1, 1)
    cos, sin = torch.ones_like(cos), torch.zeros_like(sin)
    q, k, v = (x.double().transpose(0, 1) for x in rotate_qkv(qkv, cos, sin))
    wanted = F.scaled_dot_product_attention(q, k, v).transpose(0, 1)
    torch.testing.assert_close(amx_attention(qkv, cos, sin, batch).double(), wanted, rtol=0.02, atol=0.02)


@needs_amx
def test_what_lies_around_and_what_lay_there_before_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = [70, 5, 33]
    qkv, cos, sin, batch = attention_inputs(lengths, 64)
    wanted = amx_attention(qkv, cos, sin, batch)
    assert wanted.isfinite().all()

    def surrounded(x: Tensor) -> Tensor:
        rows = torch.full((len(x) + 80, *x.shape[1:]), torch.nan, dtype=x.dtype)
        rows[40:-40] = x
        return rows[40:-40]

    empty = torch.empty
    # 0xff in every byte is NaN, as bfloat16 and as float32.
    monkeypatch.setattr(torch, "empty", lambda *size, dtype: empty(*size, dtype=dtype).view(torch.uint8).fill_(255).view(dtype))
    assert torch.equal(amx_attention(surrounded(qkv), surrounded(cos), surrounded(sin), batch), wanted)


@needs_amx
def test_nan_stays_within_its_sequence() -> None:
    qkv, cos, sin, batch = attention_inputs([20, 45, 20], 64)
    wanted = amx_attention(qkv, cos, sin, batch)
    qkv[20:65] = torch.nan
    found = amx_attention(qkv, cos, sin, batch)
    assert found[20:65].isnan().all()
    assert torch.equal(found[:20], wanted[:20])
    assert torch.equal(found[65:], wanted[65:])


@needs_amx
def test_small_numbers_are_numbers_again_afterwards() -> None:
    """While it runs they are taken as 0, which is a setting of the thread."""
    amx_attention(*attention_inputs([20], 64))
    assert float(torch.full((1,), 1e-40) * 1) > 0


AT_THE_EDGE = """
import torch
from support.kernels import at_the_edge, attention_inputs
from taskvec.attention import amx_attention

for lengths in ([1], [7], [33], [64, 1], [31, 18]):
    for head_dim in (32, 64):
        qkv, cos, sin, batch = attention_inputs(lengths, head_dim)
        found = amx_attention(*map(at_the_edge, (qkv, cos, sin)), batch)
        assert torch.equal(found, amx_attention(qkv, cos, sin, batch))
"""


@needs_amx
def test_nothing_beyond_the_last_row_is_read() -> None:
    """Memory after the inputs that may not be touched."""
    survives(AT_THE_EDGE)


@needs_amx
def test_threads_of_python_may_call_at_once() -> None:
    cases = [attention_inputs([length, 150, 40], 64) for length in range(100, 108)]
    wanted = [amx_attention(*case) for case in cases]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            found = pool.map(lambda case: amx_attention(*case), cases)
            assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))


@needs_amx
@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_an_encoder_with_it_and_without(dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between oneDNN's products, which set up AMX in their own way."""
    folder = write_native(tmp_path / "model", random_weights(Shape(width=128, layers=3, heads=2, inner=256)))
    monkeypatch.setattr("taskvec.loading.activation_dtype", lambda dtype: torch.bfloat16)
    texts = ["one", "a longer text of some more words", "words " * 200]
    with Encoder.from_pretrained(folder, dtype=dtype, device="cpu") as encoder:
        ours = encoder.encode(texts)
        alone = np.stack([encoder.encode(text) for text in texts])
    monkeypatch.setattr(attention, "amx_works", lambda head_dim: False)
    with Encoder.from_pretrained(folder, dtype=dtype, device="cpu") as encoder:
        theirs = encoder.encode(texts)
    assert not np.array_equal(ours, theirs)
    least = 0.9999 if dtype == "bfloat16" else 0.99
    assert (ours * theirs).sum(1).min() >= least
    assert (ours * alone).sum(1).min() >= least


def compiled() -> Any:
    """A library that computes nothing."""
    return SimpleNamespace(taskvec_space=SimpleNamespace(), taskvec_attention=SimpleNamespace())


@pytest.fixture
def capable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine where all works, with a library that computes nothing."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(library.AMX_CAPABILITIES, True), raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(build, "load", lambda source, flags: compiled())
    monkeypatch.setattr(library, "acquire_tiles", lambda: True)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(GOMP_parallel=ctypes.c_void_p(1)))
    monkeypatch.delenv("TASKVEC_NATIVE", raising=False)


def no_amx(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(library.AMX_CAPABILITIES, True) | {"amx_bf16": False})


def an_old_torch(patch: pytest.MonkeyPatch) -> None:
    patch.delattr(torch.cpu, "get_capabilities")


def another_system(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sys, "platform", "darwin")


def turned_off(patch: pytest.MonkeyPatch) -> None:
    patch.setenv("TASKVEC_NATIVE", "0")


def nothing_compiled(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(build, "load", lambda source, flags: None)


def another_openmp(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())


def amx_refused(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(library, "acquire_tiles", lambda: False)


FLAWS = [no_amx, an_old_torch, another_system, turned_off, nothing_compiled, another_openmp, amx_refused]


@pytest.mark.usefixtures("capable")
@pytest.mark.parametrize("flaw", FLAWS)
def test_left_out_where_something_is_missing(flaw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    find = kernel_attention.attention_kernel.__wrapped__
    assert find(64) is not None
    assert find(48) is None
    flaw(monkeypatch)
    assert find(64) is None


@pytest.mark.parametrize("off", [0.0, 0.1])
def test_left_out_where_it_is_wrong(off: float, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def kernel(head_dim: int) -> Any:
        return SimpleNamespace(attend=lambda *args: (aligned_attention(*args) + off).bfloat16())

    monkeypatch.setattr(attention, "attention_kernel", kernel)
    with caplog.at_level(logging.WARNING, "taskvec"):
        assert amx_works.__wrapped__(64) is (off == 0)
    assert bool(caplog.records) is (off != 0)
