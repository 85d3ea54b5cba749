"""Smaller output types for stores and wires: float16, int8, uint8, binary, ubinary, base64. numpy only."""

import base64
import logging
from typing import Literal, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskvec.precision_names import PRECISIONS

# Fewer vectors than this give ranges that later vectors will often exceed (and be clipped to).
FEW_VECTORS = 100

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
    """Convert float vectors (n, d) or (d,) to a precision; all but base64 keep the leading shape.

    int8 and uint8 map each dimension's range linearly onto 256 steps and clip what lies outside; `ranges` is (lows, highs),
    numbers or arrays (d,), best from `calibrate` over a sample of documents and the same for both sides; without it the
    vectors themselves are the sample. binary and ubinary keep one bit a dimension, value > 0, eight to a byte with the first
    in the highest bit, so d must be a multiple of 8 (binary is ubinary - 128, as sentence-transformers and Jina's API have it).
    base64 is little-endian float32, one string a vector. Unknown precisions and unusable ranges are a ValueError.
    """
    array = np.asarray(vectors, dtype=np.float32)
    if array.ndim not in (1, 2):
        raise ValueError(f"vectors have {array.ndim} axes, (n, d) or (d,) was expected")
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}: use one of {', '.join(PRECISIONS)}")
    if ranges is not None and precision not in ("int8", "uint8"):
        raise ValueError(f"ranges belong to int8 and uint8, not to {precision}")
    if not (precision in ("float32", "float16", "base64") or np.isfinite(array).all()):
        raise ValueError(f"vectors hold NaN or infinity, which {precision} cannot: find out where they come from")
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
    """Lowest and highest value of each dimension over a sample (n, d), as `ranges` for int8 and uint8: two arrays (d,)."""
    array = np.asarray(vectors, dtype=np.float32)
    if array.ndim != 2 or len(array) < 2:
        raise ValueError(
            f"calibration needs at least 2 vectors (n, d), it got shape {array.shape}: pass ranges=calibrate(sample)"
        )
    if len(array) < FEW_VECTORS:
        log.warning("int8 ranges from %d vectors are rough; calibrate on %d or more", len(array), FEW_VECTORS)
    return array.min(axis=0), array.max(axis=0)


def _steps(array: NDArray[np.float32], precision: str, ranges: Ranges | None) -> NDArray[np.generic]:
    if not array.size:
        return array.astype(precision)
    lows, highs = (np.asarray(bound, dtype=np.float32) for bound in (calibrate(array) if ranges is None else ranges))
    for bound in (lows, highs):
        if bound.shape not in ((), array.shape[-1:]):
            raise ValueError(f"ranges have shape {bound.shape}, numbers or ({array.shape[-1]},) were expected")
    if np.any(lows > highs):
        raise ValueError("ranges are (lows, highs), and some low is above its high")
    widths = np.where(highs > lows, highs - lows, np.float32(1))
    steps = np.clip(np.round((array - lows) / widths * 255), 0, 255).astype(np.uint8)
    return steps if precision == "uint8" else (steps.astype(np.int16) - 128).astype(np.int8)


def _bits(array: NDArray[np.float32], precision: str) -> NDArray[np.generic]:
    if array.shape[-1] % 8:
        raise ValueError(f"{precision} packs 8 dimensions into a byte: {array.shape[-1]} is not a multiple of 8")
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
