"""Device and dtype are chosen by what is there and what a probe measures."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from support.processes import run_python
from taskvec import attention, devices
from taskvec.attention import aligned_attention, amx_attention, choose_attention, grouped_attention, varlen_attention


def test_cpu_dtype_follows_the_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds, expected in (((1.0, 5.0), torch.bfloat16), ((4.0, 5.0), torch.float32), ((145.0, 1.0), torch.float32)):
        table = dict(zip((torch.bfloat16, torch.float32), seconds, strict=True))
        monkeypatch.setattr(devices, "matmul_seconds", table.__getitem__)
        devices.bfloat16_is_fast.cache_clear()
        assert devices.choose_dtype(None, torch.device("cpu")) is expected
    devices.bfloat16_is_fast.cache_clear()


def test_cuda_prefers_bfloat16_where_the_card_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for has, expected in ((True, torch.bfloat16), (False, torch.float16)):
        current: list[torch.device] = []

        @contextmanager
        def device(index: torch.device, current: list[torch.device] = current) -> Iterator[None]:
            current.append(index)
            yield

        monkeypatch.setattr(torch.cuda, "device", device)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has=has: has)
        assert devices.choose_dtype(None, torch.device("cuda:1")) is expected
        assert current == [torch.device("cuda:1")]


def test_cuda_is_preferred_then_mps_then_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for cuda, mps, expected in ((True, True, "cuda:3"), (False, True, "mps"), (False, False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        monkeypatch.setattr(torch.cuda, "device_count", lambda cuda=cuda: 4 * cuda)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda mps=mps: mps)
        assert devices.choose_device(None) == torch.device(expected)


def test_dtypes_by_name_and_by_torch() -> None:
    cpu = torch.device("cpu")
    for name in ("float32", "bfloat16", "float16"):
        assert devices.choose_dtype(name, cpu) is devices.choose_dtype(getattr(torch, name), cpu) is getattr(torch, name)
    assert devices.choose_dtype(None, torch.device("mps")) is torch.float32


ATTENTIONS = [
    ("cuda", torch.bfloat16, 64, (9, 0), varlen_attention),
    ("cuda", torch.float16, 64, (8, 0), varlen_attention),
    ("cuda", torch.float16, 64, (7, 5), grouped_attention),
    ("cuda", torch.float32, 64, (9, 0), grouped_attention),
    ("cuda", torch.bfloat16, 12, (9, 0), grouped_attention),
    ("cpu", torch.float32, 64, (9, 0), grouped_attention),
    ("cpu", torch.bfloat16, 64, (9, 0), amx_attention),
    ("cpu", torch.bfloat16, 16, (9, 0), aligned_attention),
    ("cpu", torch.float16, 64, (9, 0), aligned_attention),
    ("mps", torch.float16, 64, (9, 0), grouped_attention),
]


@pytest.mark.parametrize(("device", "dtype", "head_dim", "capability", "expected"), ATTENTIONS)
def test_packed_flash_attention_only_where_it_runs(
    monkeypatch: pytest.MonkeyPatch, device: str, dtype: torch.dtype, head_dim: int, capability: tuple[int, int], expected: object
) -> None:
    monkeypatch.setattr(attention, "amx_works", lambda head_dim: head_dim == 64)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: True)
    assert choose_attention(torch.device(device), dtype, head_dim) is expected
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: False)
    assert choose_attention(torch.device(device), dtype, head_dim) is not varlen_attention


PROBE = "from taskvec.devices import choose_dtype; import torch; print(choose_dtype(None, torch.device('cpu')))"


def test_a_cpu_without_fast_bfloat16_gets_float32() -> None:
    """oneDNN held to AVX2, where torch's flags still promise bfloat16 and it is far slower."""
    assert run_python(PROBE, ONEDNN_MAX_CPU_ISA="AVX2") == "torch.float32\n"
