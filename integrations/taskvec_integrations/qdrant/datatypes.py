"""Which datatypes of a collection hold our vectors: float32 and float16 do, uint8 keeps nothing of them."""

import inspect
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from qdrant_client.models import Datatype

P = ParamSpec("P")
R = TypeVar("R")


def check_datatypes(vectors: object) -> None:
    """A `vectors_config` with datatype uint8 is a ValueError that says why and what saves memory instead."""
    named = vectors if isinstance(vectors, dict) else {}
    for name, params in {"": vectors, **named}.items():  # a dict may be one vector's parameters, or named ones
        if (params.get("datatype") if isinstance(params, dict) else getattr(params, "datatype", None)) == Datatype.UINT8:
            raise ValueError(
                f"vector {name!r} has datatype uint8, which cuts numbers to whole ones from 0 to 255: nothing is left of a "
                "vector of length 1, whose numbers lie between -1 and 1. Use datatype float16, or scalar quantization, which "
                "scales them to int8; create a collection for vectors that are uint8 already with QdrantClient"
            )


def refusing(method: Callable[P, R]) -> Callable[P, R]:
    """A method that creates a collection with its `vectors_config` checked first."""
    signature = inspect.signature(method)

    @wraps(method)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        check_datatypes(signature.bind(*args, **kwargs).arguments.get("vectors_config"))
        return method(*args, **kwargs)

    return checked


def refusing_async(method: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """`refusing` for a coroutine function."""
    checked = refusing(method)

    @wraps(method)
    async def awaited(*args: P.args, **kwargs: P.kwargs) -> R:
        return await checked(*args, **kwargs)

    return awaited
