"""Comparing what objects gave before with what they give now."""

from typing import Any

from numpy.testing import assert_allclose

ROUNDING = 1e-3
"""What float16, float32 and other kernels leave of a difference in vectors of length 1."""


def assert_alike(found: Any, expected: Any) -> None:
    """Equal, but for rounding in lists of floats."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_alike(found[key], expected[key])
    elif is_vectors(expected):
        assert_allclose(found, expected, atol=ROUNDING, rtol=0)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_alike(one, other)
    else:
        assert found == expected


def is_vectors(value: Any) -> bool:
    """Whether it is a list of floats, or a list of such lists."""
    return isinstance(value, list) and bool(value) and all(isinstance(item, float) or is_vectors(item) for item in value)
