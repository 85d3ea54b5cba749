"""Keys widened by neighbors and masked give the very attention of each sequence alone."""

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from taskvec.attention import attend_in_groups, key_windows
from taskvec.packing import PackedTensors


def packed(lengths: list[int]) -> PackedTensors:
    unused = torch.empty(0)
    return PackedTensors(tuple(lengths), unused, unused, unused, unused, unused)


def alone(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    parts = zip(*(x.transpose(0, 1).split_with_sizes(lengths, 1) for x in (q, k, v)), strict=True)
    return torch.cat([F.scaled_dot_product_attention(*part) for part in parts], 1).transpose(0, 1)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 70), min_size=1, max_size=8), st.sampled_from([1, 4, 16]), st.booleans())
def test_any_composition(lengths: list[int], multiple: int, ordered: bool) -> None:
    lengths = sorted(lengths, reverse=True) if ordered else lengths
    generator = torch.Generator().manual_seed(sum(lengths))
    qkv = torch.randn(sum(lengths), 3, 2, 8, generator=generator)
    q, k, v = qkv.unbind(1)
    out = attend_in_groups(q, k, v, packed(lengths), multiple)
    assert out.shape == q.shape
    torch.testing.assert_close(out, alone(q, k, v, lengths), atol=1e-5, rtol=1e-5)


def test_a_neighbor_does_matter_without_the_mask() -> None:
    """What the test above would not notice if windows were never widened."""
    windows, rows = key_windows((20, 20, 7), 16)
    assert [(window.first, window.keys) for window in windows] == [(0, 32), (31, 16)]
    assert rows == 52  # the second of the twenties reads up to row 20 + 32
    first = windows[0].mask
    assert first is not None
    assert first.flatten().tolist() == [True] * 20 + [False] * 12
    assert windows[1].mask is not None
    assert windows[1].mask.flatten().tolist() == [False] * 9 + [True] * 7


def test_keys_are_aligned_up_to_a_block_of_them() -> None:
    lengths = [600, 206, 190, 190, 63]
    windows, _ = key_windows(tuple(lengths), 16)
    assert [window.keys for window in windows] == [600, 208, 192, 64]
    q, k, v = torch.randn(sum(lengths), 3, 2, 64, generator=torch.Generator().manual_seed(0)).bfloat16().unbind(1)
    out = attend_in_groups(q, k, v, packed(lengths), 16)
    torch.testing.assert_close(out, alone(q, k, v, lengths), atol=0.02, rtol=0.02)


def test_extreme_keys_of_a_neighbor_do_not_reach_a_sequence() -> None:
    lengths = [5, 11]
    q, k, v = torch.randn(16, 3, 2, 8, generator=torch.Generator().manual_seed(0)).unbind(1)
    k[5:] = 1e30
    out = attend_in_groups(q, k, v, packed(lengths), 16)
    torch.testing.assert_close(out[:5], alone(q, k, v, lengths)[:5], atol=1e-5, rtol=1e-5)
