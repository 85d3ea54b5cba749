"""Which datatypes of a collection hold our vectors: float32 and float16 do, uint8 keeps nothing of them."""

import inspect
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from qdrant_client.models import Datatype

P = ParamSpec("P")
R = TypeVar("R")


def check_datatypes(vectors: object) -> None:
    """Refuse vectors that would be stored as uint8.

    Args:
        vectors: a `vectors_config` of Qdrant, as models or as a dict.

    Raises:
        ValueError: a vector has datatype uint8; the message says why, and what saves memory instead.
    """
    named = vectors if isinstance(vectors, dict) else {}
    for name, params in {"": vectors, **named}.items():  # a dict may be one vector's parameters, or named ones
        if (params.get("datatype") if isinstance(params, dict) else getattr(params, "datatype", None)) == Datatype.UINT8:
            raise ValueError(
                f"vector {name!r} has datatype uint8, which rounds down to whole numbers from 0 to 255. The numbers of our "
                "vectors lie between -1 and 1, so nothing would be left of them. Use datatype float16, or scalar quantization, "
                "which scales to int8. To store vectors that are uint8 already, create the collection with QdrantClient."
            )


def check_datatypes_first(method: Callable[P, R]) -> Callable[P, R]:
    """A method that creates a collection, with its `vectors_config` checked before it is called."""
    signature = inspect.signature(method)

    @wraps(method)
    def check_then_call(*args: P.args, **kwargs: P.kwargs) -> R:
        check_datatypes(signature.bind(*args, **kwargs).arguments.get("vectors_config"))
        return method(*args, **kwargs)

    return check_then_call


def check_datatypes_first_async(method: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """`check_datatypes_first` for a coroutine function."""
    check_then_call = check_datatypes_first(method)

    @wraps(method)
    async def check_then_await(*args: P.args, **kwargs: P.kwargs) -> R:
        return await check_then_call(*args, **kwargs)

    return check_then_await
