"""Smaller output types for stores and wires: float16, int8, uint8, binary, ubinary, base64. numpy only."""

import base64
import logging
from typing import Literal, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskvec.names import PRECISIONS

# Fewer vectors than this give ranges that later vectors will often exceed (and be clipped to).
MIN_CALIBRATION_VECTORS = 100

log = logging.getLogger("taskvec")

Ranges = tuple[ArrayLike, ArrayLike] | NDArray[np.float32]


@overload
def quantize(vectors: ArrayLike, precision: Literal["base64"], *, ranges: Ranges | None = None) -> str | list[str]: ...
@overload
def quantize(
    vectors: ArrayLike,
    precision: Literal["float32", "float16", "int8", "uint8", "binary", "ubinary"],
    *,
    ranges: Ranges | None = None,
) -> NDArray[np.generic]: ...
@overload
def quantize(vectors: ArrayLike, precision: str, *, ranges: Ranges | None = None) -> NDArray[np.generic] | str | list[str]: ...
def quantize(vectors: ArrayLike, precision: str, *, ranges: Ranges | None = None) -> NDArray[np.generic] | str | list[str]:
    """Convert vectors to a smaller type.

    int8 and uint8 map each dimension's range linearly onto 256 steps and clip what lies outside. binary and ubinary keep one bit
    of each dimension (value > 0), eight to a byte with the first in the highest bit; binary is ubinary - 128, as in
    sentence-transformers and Jina's API. base64 is little-endian float32.

    Args:
        vectors: (n, d) or (d,), float.
        precision: "float32", "float16", "int8", "uint8", "binary", "ubinary" or "base64".
        ranges: For int8 and uint8 (lows, highs), numbers or arrays (d,), best from `calibrate` over a sample of documents and
            the same for documents and queries. None takes the vectors themselves as the sample.

    Returns:
        An array of the same shape; (n, d / 8) or (d / 8,) for binary and ubinary; for base64 a str for each vector.

    Raises:
        ValueError: The precision is unknown, the ranges do not fit, d is not a multiple of 8 for bits, or a value is NaN or
            infinity, which steps and bits cannot represent.
    """
    array = np.asarray(vectors, dtype=np.float32)
    if array.ndim not in (1, 2):
        raise ValueError(f"vectors have {array.ndim} axes, but (n, d) or (d,) was expected")
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}: use one of {', '.join(PRECISIONS)}")
    if ranges is not None and precision not in ("int8", "uint8"):
        raise ValueError(f"ranges belong to int8 and uint8, not to {precision}")
    if not (precision in ("float32", "float16", "base64") or np.isfinite(array).all()):
        raise ValueError(f"vectors hold NaN or infinity, which {precision} cannot represent: find out where they come from")
    match precision:
        case "float32":
            return array
        case "float16":
            return array.astype(np.float16)
        case "base64":
            return _base64(array)
        case "binary" | "ubinary":
            return _bits(array, precision)
    return _steps(array, precision, ranges)


def calibrate(vectors: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Find the range of each dimension over a sample, for `quantize` to int8 and uint8.

    Args:
        vectors: (n, d), at least 2, better 100 or more.

    Returns:
        The lowest and the highest values, two arrays (d,) float32.

    Raises:
        ValueError: There are fewer than 2 vectors, or they have another shape.
    """
    array = np.asarray(vectors, dtype=np.float32)
    if array.ndim != 2 or len(array) < 2:
        raise ValueError(
            f"calibration needs at least 2 vectors (n, d), but it got shape {array.shape}: pass ranges=calibrate(sample)"
        )
    if len(array) < MIN_CALIBRATION_VECTORS:
        log.warning("int8 ranges from %d vectors are rough; calibrate on %d or more", len(array), MIN_CALIBRATION_VECTORS)
    return array.min(axis=0), array.max(axis=0)


def _steps(array: NDArray[np.float32], precision: str, ranges: Ranges | None) -> NDArray[np.generic]:
    if not array.size:
        return array.astype(precision)
    lows, highs = (np.asarray(bound, dtype=np.float32) for bound in (calibrate(array) if ranges is None else ranges))
    for bound in (lows, highs):
        if bound.shape not in ((), array.shape[-1:]):
            raise ValueError(f"ranges have shape {bound.shape}, but numbers or arrays ({array.shape[-1]},) were expected")
    if np.any(lows > highs):
        raise ValueError("ranges must be (lows, highs), but some low is above its high")
    widths = np.where(highs > lows, highs - lows, np.float32(1))
    steps = np.clip(np.round((array - lows) / widths * 255), 0, 255).astype(np.uint8)
    return steps if precision == "uint8" else (steps.astype(np.int16) - 128).astype(np.int8)


def _bits(array: NDArray[np.float32], precision: str) -> NDArray[np.generic]:
    if array.shape[-1] % 8:
        raise ValueError(
            f"{precision} packs 8 dimensions into a byte, but {array.shape[-1]} is not a multiple of 8: cut some off"
        )
    bits = np.packbits(array > 0, axis=-1)
    return bits if precision == "ubinary" else (bits.astype(np.int16) - 128).astype(np.int8)


def _base64(array: NDArray[np.float32]) -> str | list[str]:
    if array.ndim == 2:
        return [cast(str, _base64(row)) for row in array]
    return base64.b64encode(array.astype("<f4").tobytes()).decode("ascii")


def scaled_int8(vectors: NDArray[np.float32]) -> NDArray[np.int8]:
    """Each of (n, d) vectors scaled by itself so that its largest value is 127; zeros stay zeros.

    The cosine of whole numbers does not depend on a vector's scale, but it does on an offset, which `quantize` has, whose
    ranges are for stores that undo them.
    """
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    scaled = np.divide(vectors * 127, largest, out=np.zeros_like(vectors), where=largest > 0)
    rounded: NDArray[np.int8] = np.round(scaled).astype(np.int8)
    return rounded
