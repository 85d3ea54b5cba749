"""Packed linear layers compute what the plain ones do, and a torch without the operators still works."""

from pathlib import Path

import pytest
import torch

from taskvec import Encoder, linear
from taskvec.linear import Linear, PackedLinear, choose_linear, packing_works

CPU = torch.device("cpu")
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.05}

needs_packing = pytest.mark.skipif(not packing_works(torch.float32), reason="this torch has no oneDNN operators")


@needs_packing
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(1, 64, 192), (7, 64, 64), (130, 48, 200), (33, 1024, 96)])
def test_packed_is_plain(dtype: torch.dtype, rows: int, inputs: int, outputs: int) -> None:
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
        assert choose_linear(CPU, torch.float32) is Linear
        plain = Encoder.from_pretrained(native, dtype="float32").encode(text)
    finally:
        packing_works.cache_clear()
    assert plain == pytest.approx(wanted, abs=1e-5)


def test_other_devices_have_plain_layers() -> None:
    assert choose_linear(torch.device("cuda", 0), torch.bfloat16) is Linear
    assert linear.choose_linear(torch.device("mps"), torch.float32) is Linear
