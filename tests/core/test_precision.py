"""Each precision against its definition, and every refusal."""

import base64
import logging
from typing import Any

import numpy as np
import pytest

from taskvec import Precision, calibrate, quantize
from taskvec.names import PRECISIONS
from taskvec.pooling import Vectors, normalize


@pytest.fixture
def vectors() -> Vectors:
    return normalize(np.random.default_rng(0).normal(size=(200, 64)).astype(np.float32))


DTYPES = {"float32": "float32", "float16": "float16", "int8": "int8", "uint8": "uint8", "binary": "int8", "ubinary": "uint8"}


@pytest.mark.parametrize(("precision", "dtype"), DTYPES.items())
def test_shapes_and_dtypes(vectors: Vectors, precision: str, dtype: str) -> None:
    width = 8 if "binary" in precision else 64
    quantized = quantize(vectors, precision)
    assert isinstance(quantized, np.ndarray)
    assert quantized.shape == (200, width)
    assert quantized.dtype == dtype
    ranges = calibrate(vectors) if "int8" in precision else None
    single = quantize(vectors[3], precision, ranges=ranges)
    assert np.array_equal(single, quantized[3])
    for empty in (quantize(vectors[:0], precision, ranges=ranges), quantize(vectors[:0], precision)):
        assert isinstance(empty, np.ndarray)
        assert empty.shape == (0, width)
        assert empty.dtype == dtype


def test_steps_follow_the_ranges_and_clip(vectors: Vectors) -> None:
    values = np.array([-2.0, -1.0, 0.0, 1.0, 5.0], dtype=np.float32)
    assert quantize(values, "uint8", ranges=(-1, 1)).tolist() == [0, 0, 128, 255, 255]
    assert quantize(values, "int8", ranges=(-1, 1)).tolist() == [-128, -128, 0, 127, 127]
    lows, highs = calibrate(vectors)
    restored = quantize(vectors, "uint8").astype(np.float32) / 255 * (highs - lows) + lows
    assert np.abs(restored - vectors).max() <= ((highs - lows) / 255).max() / 2 + 1e-6
    assert np.array_equal(quantize(vectors, "int8"), quantize(vectors, "int8", ranges=(lows, highs)))
    assert np.array_equal(quantize(vectors, "int8"), quantize(vectors, "int8", ranges=np.stack([lows, highs])))


def test_a_constant_dimension_does_not_divide_by_zero() -> None:
    vectors = np.array([[1.0, 0.0], [1.0, 1.0]], dtype=np.float32)
    assert quantize(vectors, "uint8").tolist() == [[0, 0], [0, 255]]


def test_bits_are_packed_first_dimension_highest() -> None:
    vector = np.array([1, -1, 0, 1, 1, 1, 1, 1] + [-1] * 8, dtype=np.float32)
    assert quantize(vector, "ubinary").tolist() == [0b10011111, 0]
    assert quantize(vector, "binary").tolist() == [0b10011111 - 128, -128]


def test_base64_is_little_endian_float32(vectors: Vectors) -> None:
    text = quantize(vectors[0], "base64")
    assert isinstance(text, str)
    assert np.array_equal(np.frombuffer(base64.b64decode(text), "<f4"), vectors[0])
    assert quantize(vectors[:2], "base64") == [text, quantize(vectors[1], "base64")]


REFUSALS: list[tuple[tuple[Any, str], dict[str, Any], str]] = [
    ((np.zeros(8), "int4"), {}, "unknown precision 'int4': use one of float32, float16, int8"),
    ((np.zeros((2, 12)), "binary"), {}, "12 is not a multiple of 8"),
    ((np.zeros((2, 2, 2)), "float16"), {}, "3 axes"),
    ((np.zeros((1, 4)), "int8"), {}, r"at least 2 vectors.*\(1, 4\).*ranges=calibrate"),
    ((np.zeros(4), "uint8"), {}, r"at least 2 vectors.*\(4,\)"),
    ((np.zeros((2, 4)), "int8"), {"ranges": (np.zeros(3), np.ones(3))}, r"shape \(3,\).*\(4,\)"),
    ((np.zeros((2, 4)), "int8"), {"ranges": (1, -1)}, "some low is above its high"),
    ((np.array([[0.0, np.nan]] * 2), "int8"), {}, "NaN or infinity, which int8 cannot"),
    ((np.full((2, 8), np.inf), "ubinary"), {}, "NaN or infinity"),
    ((np.zeros((2, 4)), "float16"), {"ranges": (0, 1)}, "ranges belong to int8 and uint8, not to float16"),
]


@pytest.mark.parametrize(("arguments", "options", "message"), REFUSALS)
def test_refusals(arguments: tuple[Any, str], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quantize(*arguments, **options)


def test_rough_calibration_warns(vectors: Vectors, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "taskvec"):
        calibrate(vectors)
        assert not caplog.records
        calibrate(vectors[:99])
    assert "99 vectors" in caplog.text


def test_the_precisions_are_the_documented_seven() -> None:
    assert PRECISIONS == ("float32", "float16", "int8", "uint8", "binary", "ubinary", "base64")
    assert Precision is not None
