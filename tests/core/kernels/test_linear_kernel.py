"""Our own int8 layers for AMX: exact in what they add up, the same alone and in company, left out where they cannot be had."""

import ctypes
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from support.checkpoints import Shape, random_weights, write_native
from support.kernels import Doubles, LinearCase, survives, threads
from taskvec import Encoder, linear
from taskvec.int8 import Int8Linear
from taskvec.kernels import build, library
from taskvec.kernels import linear as kernel_linear
from taskvec.kernels.linear import AmxLinear, amx_int8_works
from taskvec.linear import choose_linear

CPU = torch.device("cpu")
SHAPES = [(1, 1), (63, 31), (64, 32), (65, 33), (130, 97), (1024, 96), (384, 1152)]
ROWS = [1, 15, 16, 17, 31, 32, 33, 300]
needs_kernel = pytest.mark.skipif(
    kernel_linear.linear_kernel() is None, reason="this machine has no AMX for int8, no C compiler or no OpenMP of torch"
)


def assert_rounded(found: Tensor, exact: Doubles, slack: float = 1e-6) -> None:
    """As near as bfloat16 can be, up to what float32 loses where bias or residual nearly cancel the product."""
    difference = np.abs(found.double().numpy() - exact)
    assert (difference <= np.abs(exact) * 2**-8 * 1.001 + slack * max(1, np.abs(exact).max())).all()


@needs_kernel
@pytest.mark.parametrize(("inputs", "outputs"), SHAPES)
@pytest.mark.parametrize("rows", ROWS)
def test_exact_up_to_rounding_to_bfloat16(rows: int, inputs: int, outputs: int) -> None:
    case = LinearCase(rows, inputs, outputs)
    for found, wanted, slack in zip(case.all(), case.exact(), (1e-6, 6e-6, 1e-6), strict=True):
        assert found.dtype is torch.bfloat16
        assert_rounded(found, wanted, slack)


@needs_kernel
@pytest.mark.parametrize("outputs", [1024, 1000])
def test_results_that_go_past_the_caches_are_the_same(outputs: int) -> None:
    case = LinearCase(1100, 128, outputs)  # more than 2 ** 20 of them, in more than one group of rows
    for found, wanted in zip(case.all(), case.exact(), strict=True):
        assert_rounded(found, wanted, 6e-6)
    for found, part in zip(case.all(), case.all(slice(0, 200)), strict=True):
        assert torch.equal(found[:200], part)


@needs_kernel
@pytest.mark.parametrize("spread", [1e-38, 1e-36, 1e-20, 1e20, 1e36])
def test_huge_and_tiny_inputs(spread: float) -> None:
    case = LinearCase(20, 100, 40, spread)
    case.x[7] = 0
    for found, wanted in zip(case.all(), case.exact(), strict=True):
        assert found.isfinite().all()
        assert_rounded(found, wanted, 6e-6)
    assert torch.equal(case.layer(case.x)[7], case.bias)


@needs_kernel
def test_tiny_inputs_count_where_weights_are_huge() -> None:
    case = LinearCase(20, 100, 40, 1e-38)
    case.weight, case.bias = case.weight * 1e37, torch.zeros(40)
    case.layer = AmxLinear.pack(case.weight, case.bias)
    assert case.exact()[0].std() > 0.01
    for found, wanted in zip(case.all(), case.exact(), strict=True):
        assert_rounded(found, wanted, 6e-6)


@needs_kernel
@pytest.mark.parametrize("flaw", [torch.nan, -torch.nan, torch.inf, -torch.inf])
def test_nan_and_infinity_stay_in_their_row_and_are_seen(flaw: float) -> None:
    case = LinearCase(40, 130, 70)
    wanted = case.all()
    case.x[20, 129] = flaw
    for found, before in zip(case.all(), wanted, strict=True):
        assert not found[20].isfinite().all()  # GELU makes 0 of minus infinity
        assert torch.equal(found[:20], before[:20])
        assert torch.equal(found[21:], before[21:])


@needs_kernel
def test_gelu_is_near_everywhere() -> None:
    """Through a layer that only hands on its bias."""
    bias = torch.cat((torch.linspace(-6, 6, 4000), torch.tensor([-1e30, -300, -4.75, 0, 4.75, 300, 1e30]))).bfloat16()
    layer = AmxLinear.pack(torch.zeros(len(bias), 64), bias)
    found, wanted = layer.gelu(torch.ones(1, 64, dtype=torch.bfloat16))[0], F.gelu(bias.double()).numpy()
    assert (np.abs(found.double().numpy() - wanted) <= np.abs(wanted) * 2**-8 * 1.001 + 6e-6).all()


@needs_kernel
@pytest.mark.parametrize(("inputs", "outputs"), [(65, 33), (512, 1100), (1024, 96)])
def test_company_and_threads_change_no_bit(inputs: int, outputs: int) -> None:
    case = LinearCase(150, inputs, outputs)
    wanted = case.all()
    for count in (1, 2, 3, 16):
        with threads(count):
            parts = [case.all(rows) for rows in (slice(0, 1), slice(1, 18), slice(18, 117), slice(117, 150))]
            found = [torch.cat(part) for part in zip(*parts, strict=True)]
            assert all(torch.equal(one, other) for one, other in zip([*found, *case.all()], wanted * 2, strict=True))


@needs_kernel
def test_what_lies_around_and_what_lay_there_before_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    case = LinearCase(37, 100, 70)
    wanted = case.all()
    made = []

    def surrounded(x: Tensor, value: int = 255) -> Tensor:
        size = x.numel() * x.element_size()
        memory = torch.full((size + 8192,), value, dtype=torch.uint8)
        start = -memory.data_ptr() % 64 + 4096
        made.append((memory, start, start + size))
        return memory[start : start + size].view(x.dtype).view(x.shape)

    def empty(*size: int, dtype: torch.dtype) -> Tensor:
        # 0xff in every byte is NaN, as bfloat16 and as float32.
        return surrounded(torch.zeros(*size, dtype=dtype))

    case.x, case.residual = (surrounded(x).copy_(x) for x in (case.x, case.residual))
    case.layer = AmxLinear._make((*(surrounded(x).copy_(x) for x in case.layer[:4]), case.layer.outputs))
    monkeypatch.setattr(kernel_linear, "torch", SimpleNamespace(**(vars(torch) | {"empty": empty})))
    found = [case.layer(case.x), case.layer.gelu(case.x), case.layer.add(case.x, case.residual)]
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))
    for memory, start, end in made:
        assert (memory[:start] == 255).all()
        assert (memory[end:] == 255).all()


AT_THE_EDGE = """
import torch
from support.kernels import LinearCase, at_the_edge

for rows, inputs, outputs in ((1, 1, 1), (7, 65, 33), (33, 100, 70), (300, 31, 97), (17, 128, 64)):
    case = LinearCase(rows, inputs, outputs)
    wanted = case.all()
    parts = ("weight", "scales", "totals", "bias")
    layer = case.layer._replace(**{name: at_the_edge(getattr(case.layer, name)) for name in parts})
    x, residual = at_the_edge(case.x), at_the_edge(case.residual)
    found = [layer(x), layer.gelu(x), layer.add(x, residual)]
    assert all(torch.equal(one, other) for one, other in zip(found, wanted))
"""


@needs_kernel
def test_nothing_beyond_the_last_row_is_read() -> None:
    """Memory after the inputs that may not be touched."""
    survives(AT_THE_EDGE)


@needs_kernel
def test_inputs_are_taken_as_they_lie_and_kept() -> None:
    case = LinearCase(40, 96, 96)
    wanted = case.all()
    x, residual = (torch.stack((x, x.flip(0)), 1)[:, 0] for x in (case.x, case.residual))
    assert not x.is_contiguous()
    assert torch.equal(case.layer(x), wanted[0])
    assert torch.equal(case.layer.add(x, residual), wanted[2])
    assert torch.equal(x, case.x)
    assert torch.equal(residual, case.residual)
    assert case.layer(case.x[:0]).shape == (0, 96)


@needs_kernel
def test_threads_of_python_may_call_at_once() -> None:
    cases = [LinearCase(rows, 512, 1024) for rows in range(30, 38)]
    wanted = [case.all() for case in cases]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for found, expected in zip(pool.map(LinearCase.all, cases), wanted, strict=True):
                assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@needs_kernel
def test_vectors_are_the_same_alone_and_in_company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_native(tmp_path / "model", random_weights(Shape(width=128, layers=3, heads=2, inner=256)))
    texts = ["one", "a longer text of some more words", "words " * 200]
    exact = Encoder.from_pretrained(folder, dtype="float32", device="cpu").encode(texts)
    monkeypatch.setattr("taskvec.loading.activation_dtype", lambda dtype: torch.bfloat16)
    assert amx_int8_works()
    made = []
    pack = AmxLinear.pack

    def counted(weight: Tensor, bias: Tensor) -> AmxLinear:
        made.append(pack(weight, bias))
        return made[-1]

    monkeypatch.setattr(AmxLinear, "pack", counted)
    encoder = Encoder.from_pretrained(folder, dtype="int8", device="cpu")
    vectors = encoder.encode(texts)
    assert len(made) == 3 * 4
    assert np.array_equal(vectors, np.stack([encoder.encode(text) for text in texts]))
    assert (vectors * exact).sum(1).min() > 0.998


@needs_kernel
def test_chosen_for_bfloat16_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_linear(CPU, torch.int8, torch.bfloat16) == AmxLinear.pack
    assert choose_linear(CPU, torch.int8, torch.float32) == Int8Linear.pack
    monkeypatch.setattr(linear, "amx_int8_works", lambda: False)
    assert choose_linear(CPU, torch.int8, torch.bfloat16) == Int8Linear.pack


def capable(patch: pytest.MonkeyPatch, **has: bool) -> None:
    """A machine where all works but what `has` says, with a library that computes nothing."""
    names = ("taskvec_space", "taskvec_linear")
    compiled = SimpleNamespace(**{name: SimpleNamespace() for name in names})
    patch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(kernel_linear.CAPABILITIES, True) | has, raising=False)
    patch.setattr(sys, "platform", "linux")
    patch.setattr(build, "load", lambda source, flags: compiled)
    patch.setattr(library, "acquire_tiles", lambda: True)
    patch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(GOMP_parallel=ctypes.c_void_p(1)))
    patch.delenv("TASKVEC_NATIVE", raising=False)


def test_left_out_where_the_cpu_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    capable(monkeypatch)
    assert kernel_linear.linear_kernel.__wrapped__() is not None
    capable(monkeypatch, amx_int8=False)
    assert kernel_linear.linear_kernel.__wrapped__() is None
    assert "amx_int8" not in library.AMX_CAPABILITIES


@needs_kernel
@pytest.mark.parametrize("method", ["__call__", "gelu", "add"])
def test_left_out_where_it_is_wrong(method: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    right = getattr(AmxLinear, method)
    with caplog.at_level(logging.WARNING, "taskvec"):
        assert amx_int8_works.__wrapped__()
        assert not caplog.records
        monkeypatch.setattr(AmxLinear, method, lambda *args: right(*args) + 0.2)
        assert not amx_int8_works.__wrapped__()
    assert "linear.c" in caplog.text
