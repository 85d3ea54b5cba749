"""`shared_encoder`: one encoder per process and settings, for adapters that load by name and must not load twice."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from taskvec.encoder import Encoder
from taskvec.loading import LoadSettings
from taskvec.names import DEFAULT_MODEL

P = ParamSpec("P")


def _sharing(from_pretrained: Callable[P, Encoder]) -> Callable[P, Encoder]:
    """Make a function with the arguments of `from_pretrained` that loads each combination of them once."""
    signature = inspect.signature(from_pretrained)

    @wraps(from_pretrained, assigned=())
    def shared_encoder(*args: P.args, **kwargs: P.kwargs) -> Encoder:
        """`Encoder.from_pretrained`, except that callers with the same arguments get the same encoder.

        Each caller closes it once, and the last one frees the weights. A later call loads them again.

        Args:
            *args: As in `Encoder.from_pretrained`.
            **kwargs: As in `Encoder.from_pretrained`.

        Returns:
            The encoder that this process shares.
        """
        arguments = signature.bind(*args, **kwargs).arguments
        return Encoder.from_settings(LoadSettings(**{"model": DEFAULT_MODEL, **arguments}))

    return shared_encoder


shared_encoder = _sharing(Encoder.from_pretrained)

shared = Encoder.from_settings
"""The name that pickles of version 0.1.0 call."""
