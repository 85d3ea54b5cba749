"""Packed and int8 layers compute what the plain ones do, and a torch without the operators still works."""

from pathlib import Path
from typing import Any

import pytest
import torch

from taskvec import Encoder, linear
from taskvec.int8 import SYMMETRIC_ZERO_POINT, Int8Linear, int8_works, quantize_input
from taskvec.linear import Linear, PackedLinear, choose_linear, packing_works

CPU = torch.device("cpu")
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.05}


def needs_packing(dtype: torch.dtype) -> None:
    """Skip where oneDNN refuses to pack weights of a dtype. Where it packs them, `packing_works` has to be true."""
    try:
        PackedLinear.pack(torch.ones(32, 16, dtype=dtype), torch.ones(32, dtype=dtype))
    except (AttributeError, NotImplementedError, RuntimeError, TypeError) as error:
        assert not packing_works(dtype)
        pytest.skip(f"oneDNN does not pack {dtype} on this machine: {error}")
    assert packing_works(dtype)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(1, 64, 192), (7, 64, 64), (130, 48, 200), (33, 1024, 96)])
def test_packed_is_plain(dtype: torch.dtype, rows: int, inputs: int, outputs: int) -> None:
    needs_packing(dtype)
    generator = torch.Generator().manual_seed(0)
    sizes = ((outputs, inputs), (outputs,), (rows, inputs), (rows, outputs))
    weight, bias, x, residual = (torch.randn(*size, generator=generator).to(dtype) for size in sizes)
    weight *= inputs**-0.5
    plain, packed = Linear(weight, bias), PackedLinear.pack(weight, bias)
    untouched = x.clone(), residual.clone()
    for ours, theirs in (
        (packed(x), plain(x)),
        (packed.gelu(x), plain.gelu(x)),
        (packed.add(x, residual), plain.add(x, residual)),
    ):
        torch.testing.assert_close(ours, theirs, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    assert torch.equal(x, untouched[0])
    assert torch.equal(residual, untouched[1])


def test_an_unmerged_update_goes_through_all_three() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, left, right, x = (torch.randn(*size, generator=generator) for size in ((6, 5), (6, 2), (2, 5), (3, 5)))
    merged, unmerged = Linear(weight + left @ right, torch.zeros(6)), Linear(weight, torch.zeros(6), (left, right))
    for ours, theirs in (
        (unmerged(x), merged(x)),
        (unmerged.gelu(x), merged.gelu(x)),
        (unmerged.add(x, torch.ones(3, 6)), merged.add(x, torch.ones(3, 6))),
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("flaw", ["missing", "wrong"])
def test_without_working_operators_layers_are_plain(flaw: str, native: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a text that is encoded either way"
    wanted = Encoder.from_pretrained(native, dtype="float32").encode(text)

    def pack(weight: torch.Tensor, bias: torch.Tensor) -> PackedLinear:
        if flaw == "missing":
            raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_reorder_linear_weight'")
        return PackedLinear(weight.flip(0), bias)

    monkeypatch.setattr(PackedLinear, "pack", pack)
    packing_works.cache_clear()
    try:
        assert choose_linear(CPU, torch.float32, torch.float32) is Linear
        plain = Encoder.from_pretrained(native, dtype="float32").encode(text)
    finally:
        packing_works.cache_clear()
    assert plain == pytest.approx(wanted, abs=1e-5)


def test_other_devices_have_plain_layers() -> None:
    assert choose_linear(torch.device("cuda", 0), torch.bfloat16, torch.bfloat16) is Linear
    assert choose_linear(torch.device("mps"), torch.float32, torch.float32) is Linear


needs_int8 = pytest.mark.skipif(not int8_works(torch.float32), reason="this CPU or torch does not multiply int8 correctly")


@needs_int8
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(1, 64, 192), (7, 64, 64), (130, 48, 200), (700, 1024, 96)])
def test_int8_is_nearly_plain(dtype: torch.dtype, rows: int, inputs: int, outputs: int) -> None:
    generator = torch.Generator().manual_seed(0)
    sizes = ((outputs, inputs), (outputs,), (rows, inputs), (rows, outputs))
    weight, bias, x, residual = (torch.randn(*size, generator=generator).to(dtype) for size in sizes)
    weight *= inputs**-0.5
    weight[0] = 0
    plain, ours = Linear(weight.float(), bias.float()), Int8Linear.pack(weight, bias)
    untouched = weight.clone(), x.clone(), residual.clone()
    for one, other in (
        (ours(x), plain(x.float())),
        (ours.gelu(x), plain.gelu(x.float())),
        (ours.add(x, residual), plain.add(x.float(), residual.float())),
    ):
        assert one.dtype is dtype
        torch.testing.assert_close(one.float(), other, rtol=0.03, atol=0.1)
    for kept, tensor in zip(untouched, (weight, x, residual), strict=True):
        assert torch.equal(kept, tensor)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("by_row", [True, False])
def test_quantized_steps_are_near(by_row: bool, dtype: torch.dtype) -> None:
    x = torch.tensor([[-0.2, 0.0, 3.0], [1.0, 2.0, 4.0], [-5.0, -1.0, -2.0], [0.0, 0.0, 0.0], [7.0, 7.0, 90.0]])
    x = x.repeat(1, 70_000).to(dtype)  # long rows, so that there is more than one piece
    untouched = x.clone()
    scales = torch.tensor([[0.03], [0.05], [0.05], [1.0], [0.07]])
    steps = quantize_input(x, 1 / scales, SYMMETRIC_ZERO_POINT) if by_row else quantize_input(x, 1 / 0.05, 100)
    scale, zero = (scales, SYMMETRIC_ZERO_POINT) if by_row else (torch.tensor(0.05), 100)
    assert steps.dtype is torch.uint8
    restored = (steps.float() - zero) * scale
    clipped = x.float().clamp((0 - zero) * scale, (255 - zero) * scale)
    assert ((restored - clipped).abs() <= scale / 2 + 1e-5).all()
    assert torch.equal(x, untouched)


@needs_int8
def test_int8_vectors_are_near_those_of_float32(native: Path) -> None:
    texts = ["a text that is encoded either way", "und ein anderer, etwas längerer Text", "x"]
    wanted = Encoder.from_pretrained(native, dtype="float32").encode_queries(texts)
    encoder = Encoder.from_pretrained(native, dtype="int8")
    vectors = encoder.encode_queries(texts)
    assert encoder.dtype is torch.int8
    assert "int8" in repr(encoder)
    assert (wanted * vectors).sum(1).min() > 0.99
    assert not (vectors == wanted).all()
    assert (encoder.encode_queries(texts[0]) * vectors[0]).sum() > 0.99


def test_int8_is_refused_where_it_cannot_be_had(native: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="dtype 'int8' needs merged adapters"):
        Encoder.from_pretrained(native, dtype="int8", merge_adapters=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(ValueError, match="runs on CPUs, not on 'cuda:0'"):
        Encoder.from_pretrained(native, dtype="int8", device="cuda:0")


@pytest.mark.parametrize("flaw", ["missing", "saturating"])
def test_int8_is_refused_where_products_are_wrong(flaw: str, native: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Int8Linear._product

    def product(self: Int8Linear, *args: Any) -> torch.Tensor:
        if flaw == "missing":
            raise AttributeError("'_OpNamespace' 'onednn' object has no attribute 'qlinear_pointwise'")
        return right(self, *args) * 0.9

    monkeypatch.setattr(Int8Linear, "_product", product)
    monkeypatch.setattr(linear, "amx_int8_works", lambda: False)
    int8_works.cache_clear()
    try:
        with pytest.raises(ValueError, match="does not multiply int8 correctly: leave dtype out"):
            Encoder.from_pretrained(native, dtype="int8")
    finally:
        int8_works.cache_clear()
