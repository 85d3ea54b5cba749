"""The losses both stages share, each over several widths at once so that a vector can be cut (Matryoshka)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

DIMENSIONS = (32, 64, 128, 256, 384)
TEMPERATURE = 0.05
READS = 256  # tokens that the teacher reads at once


def unit(vectors: Tensor, dimensions: int = 384) -> Tensor:
    """Rows cut to their first dimensions, then of length one."""
    return F.normalize(vectors[:, :dimensions], dim=1)


def imitate(vectors: Tensor, teacher: Tensor) -> Tensor:
    """Same direction as the teacher at full width, same similarities between the texts of the batch at every width."""
    loss = (1 - (unit(vectors) * teacher).sum(1)).mean()
    similarities = teacher @ teacher.T
    for dimensions in DIMENSIONS:
        short = unit(vectors, dimensions)
        loss = loss + 5 * (short @ short.T - similarities).square().mean()
    return loss


def follow(states: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Each token's last hidden state as the teacher has it, as a share of its square; `states` may have an instruction in front.

    The tokens of an instruction are to say what the text means: they are held to the mean of the teacher's states.
    """
    targets = []
    kept = []
    for ours, theirs in zip(states, wanted, strict=True):
        if len(theirs) <= READS:  # what is longer, it read in windows
            instruction = theirs.mean(0, keepdim=True).expand(len(ours) - len(theirs), -1)
            targets.append(torch.cat((theirs[:1], instruction, theirs[1:])))
            kept.append(ours)
    target = torch.cat(targets)
    return (torch.cat(kept).float() - target).square().sum() / target.square().sum()


def rank_alike(left: Tensor, right: Tensor, teacher_left: Tensor, teacher_right: Tensor) -> Tensor:
    """The teacher's ranking of all right texts for each left one, at every width: KL divergence of the softmaxed similarities."""
    wanted = (teacher_left @ teacher_right.T / TEMPERATURE).softmax(1)
    loss = left.new_zeros(())
    for dimensions in DIMENSIONS:
        scores = unit(left, dimensions) @ unit(right, dimensions).T / TEMPERATURE
        loss = loss + F.kl_div(scores.log_softmax(1), wanted, reduction="batchmean")
    return loss / len(DIMENSIONS)
