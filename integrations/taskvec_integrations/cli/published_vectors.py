"""Published vectors of jina-embeddings-v3, and how far an encoder is from them: whether this machine reproduces the model.

From the tests of fastembed (no instruction, normalized, the first five of 1024 values, four digits).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from taskvec import Encoder, Task

TEXTS = ("Hello World", "Follow the white rabbit.")
VECTORS: Mapping[Task, Sequence[Sequence[float]]] = {
    Task.RETRIEVAL_QUERY: [[0.0623, -0.0402, 0.1706, -0.0143, 0.0617], [-0.1064, -0.0733, 0.0353, 0.0096, 0.0667]],
    Task.RETRIEVAL_PASSAGE: [[0.0513, -0.0247, 0.1751, -0.0075, 0.0679], [-0.0987, -0.0786, 0.09, 0.0087, 0.0577]],
    Task.SEPARATION: [[0.094, -0.1065, 0.1305, 0.0547, 0.0556], [0.0315, -0.1468, 0.065, 0.0568, 0.0546]],
    Task.CLASSIFICATION: [[0.0606, -0.0877, 0.1384, 0.0065, 0.0722], [-0.0502, -0.119, 0.032, 0.0514, 0.0689]],
    Task.TEXT_MATCHING: [[0.0911, -0.0341, 0.1305, -0.026, 0.0576], [-0.1432, -0.05, 0.0133, 0.0464, 0.0789]],
}
"""By task the first five values of the vectors of TEXTS."""
TOLERANCES = {torch.float32: 1e-4, torch.float16: 1e-3, torch.bfloat16: 4e-3, torch.int8: 2e-2}
"""How far a value may be off in each dtype: four digits in float32, rounding in the others. Another adapter is off by .03."""


def max_deviation(encoder: Encoder) -> float:
    """The largest difference between a published value and the encoder's."""
    worst = 0.0
    for task, expected in VECTORS.items():
        vectors = encoder.encode(list(TEXTS), task=task, instruction="")
        worst = max(worst, float(np.abs(vectors[:, :5] - np.array(expected)).max()))
    return worst
