"""What tests look at inside an encoder: its pipeline, the weights of a task, a layer's tensors."""

from collections.abc import Iterator
from types import GeneratorType
from typing import Any, cast

from torch import Tensor

from taskvec import Encoder
from taskvec.adapters import Bodies
from taskvec.linear import LinearLike
from taskvec.pipeline import Pipeline
from taskvec.pooling import Vectors
from taskvec.runner import Runner


def pipeline(encoder: Encoder) -> Pipeline:
    """The pipeline of an encoder that is not closed."""
    assert encoder._open_pipeline is not None
    return encoder._open_pipeline


def runners(encoder: Encoder) -> list[Runner]:
    """One for each of its devices."""
    return list(pipeline(encoder)._runners)


def bodies(encoder: Encoder) -> Bodies:
    """The weights of each task on the first device."""
    return runners(encoder)[0]._bodies


def weight(layer: LinearLike) -> Tensor:
    """The weight of a linear layer, packed or not."""
    return cast(Tensor, cast(Any, layer).weight)


def bias(layer: LinearLike) -> Tensor:
    """The bias of a linear layer."""
    return cast(Tensor, cast(Any, layer).bias)


def stop(vectors: Iterator[Vectors]) -> None:
    """End a generator of vectors before its time."""
    assert isinstance(vectors, GeneratorType)
    vectors.close()
