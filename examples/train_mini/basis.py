"""The teacher's space turned so that its first coordinates say the most: the start of short vectors (Matryoshka).

A turn of a whole transformer would be exact but for LayerNorm, which subtracts the mean and weighs each coordinate. So the mean's
direction stays where it is, and so do the coordinates that some LayerNorm weighs most unlike the others; the rest turns to the
principal components of the teacher's vectors. Training mends the small error that is left.
"""

import torch
from torch import Tensor

FIXED = 96  # with 64 fixed coordinates the turned teacher loses more than with 96, with 128 short vectors say less


def principal_basis(vectors: Tensor, norms: Tensor) -> Tensor:
    """An orthogonal (width, width) matrix R for vectors (n, width) and LayerNorm weights (count, width): x becomes R @ x."""
    width = vectors.shape[1]
    unlike = (norms.double() / norms.double().mean(1, keepdim=True) - 1).abs().amax(0)
    fixed = unlike.argsort(descending=True)[:FIXED].sort().values
    free = torch.ones(width, dtype=torch.double)
    free[fixed] = 0
    mean = free / free.norm()
    centred = (vectors.double() - vectors.double().mean(0)) * free
    centred = centred - (centred @ mean)[:, None] * mean
    # The directions to leave out get the smallest eigenvalues.
    left_out = mean[:, None] * mean + torch.diag(1 - free)
    covariance = centred.T @ centred
    components = torch.linalg.eigh(covariance - covariance.trace() * left_out).eigenvectors.T.flip(0)
    count = width - FIXED
    turned = torch.cat([components[: count - 1], mean[None]])
    # A reflection among the new coordinates that makes their sum the old sum: LayerNorm's mean stays what it was.
    mirror = torch.full((count,), -(count**-0.5), dtype=torch.double)
    mirror[-1] += 1
    mirror /= mirror.norm()
    turned = turned - 2 * mirror[:, None] * (mirror @ turned)
    return torch.cat([turned, torch.eye(width, dtype=torch.double)[fixed]]).float()


def turn(name: str, tensor: Tensor, basis: Tensor) -> Tensor:
    """A tensor of the model, by native name, in the turned space."""
    module, _, part = name.rpartition(".")
    if module.endswith(("LayerNorm", "layernorm")):
        return basis.square() @ tensor if part == "weight" else basis @ tensor
    if module.endswith(("o_proj", "fc2")):  # writes into the space
        return basis @ tensor
    return tensor @ basis.T if tensor.ndim == 2 else tensor  # reads from it: tables have it as columns, too
