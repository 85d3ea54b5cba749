"""From hidden states to vectors: mean over token spans in float32, cut to dimensions, then normalize."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from taskvec.packing import PackedTensors

Vectors = NDArray[np.float32]


def mean_pool(hidden: torch.Tensor, batch: PackedTensors, dimensions: int) -> torch.Tensor:
    """Mean of each pool's tokens: hidden (T, width) of any dtype -> (K, dimensions) float32."""
    kept = hidden.narrow(1, 0, dimensions).float()
    return F.embedding_bag(batch.pool_tokens, kept, batch.pool_starts, mode="mean")


def normalize(vectors: Vectors) -> Vectors:
    """Each vector divided by its Euclidean norm; one of zeros stays zero. (..., d) -> (..., d)."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: Vectors = vectors / np.maximum(norms, np.float32(1e-12))
    return unit


def cut_dimensions(vectors: Vectors, dimensions: int) -> Vectors:
    """Cut unit vectors to fewer dimensions and normalize them again, which is what encoding at these gives.

    Args:
        vectors: (..., width) float32 of unit length.
        dimensions: At most the width.

    Returns:
        (..., dimensions) float32 of unit length.
    """
    return vectors if dimensions == vectors.shape[-1] else normalize(vectors[..., :dimensions])
