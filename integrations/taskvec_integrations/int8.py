"""Vectors as whole numbers for stores that compare them as they are."""

import numpy as np
from numpy.typing import NDArray


def scaled_int8(vectors: NDArray[np.float32]) -> NDArray[np.int8]:
    """Each of (n, d) vectors scaled by itself so that its largest value is 127; zeros stay zeros.

    The cosine of whole numbers does not depend on a vector's scale, but it does on an offset, which `taskvec.quantize` has, whose
    ranges are for stores that undo them.
    """
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    scaled = np.divide(vectors * 127, largest, out=np.zeros_like(vectors), where=largest > 0)
    rounded: NDArray[np.int8] = np.round(scaled).astype(np.int8)
    return rounded
