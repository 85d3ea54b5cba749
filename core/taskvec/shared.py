"""One encoder per process and settings, for adapters that load by name and must not load twice."""

import inspect
import threading
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec
from weakref import WeakValueDictionary

from taskvec.checkpoint.hub import DEFAULT_MODEL
from taskvec.encoder import Encoder
from taskvec.loading import LoadSettings, load

P = ParamSpec("P")

_encoders: WeakValueDictionary[LoadSettings, Encoder] = WeakValueDictionary()
_loading: defaultdict[LoadSettings, threading.Lock] = defaultdict(threading.Lock)


def _sharing(from_pretrained: Callable[P, Encoder]) -> Callable[P, Encoder]:
    """A function with the arguments of `from_pretrained` that loads each combination of them once."""
    signature = inspect.signature(from_pretrained)

    @wraps(from_pretrained, assigned=())
    def shared_encoder(*args: P.args, **kwargs: P.kwargs) -> Encoder:
        """`Encoder.from_pretrained` that gives every caller with the same arguments the same encoder.

        Each caller closes it once; the last one frees the weights. A later call loads anew.
        """
        arguments = signature.bind(*args, **kwargs).arguments
        return shared(LoadSettings(**{"model": DEFAULT_MODEL, **arguments}))

    return shared_encoder


shared_encoder = _sharing(Encoder.from_pretrained)


def shared(settings: LoadSettings) -> Encoder:
    """`shared_encoder` for settings that are already made; unpickling an Encoder comes here."""
    with _loading[settings]:
        encoder = _encoders.get(settings)
        if encoder is None or not encoder.hold():
            encoder = _encoders[settings] = Encoder(load(settings), settings)
        return encoder
