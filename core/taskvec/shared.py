"""One encoder per process and settings, for adapters that load by name and must not load twice."""

import threading
from pathlib import Path
from typing import Unpack
from weakref import WeakValueDictionary

from taskvec.encoder import Encoder
from taskvec.hub import DEFAULT_MODEL
from taskvec.loading import LoadOptions, LoadSettings, load

_encoders: WeakValueDictionary[LoadSettings, Encoder] = WeakValueDictionary()
_lock = threading.Lock()


def shared_encoder(model: str | Path = DEFAULT_MODEL, **options: Unpack[LoadOptions]) -> Encoder:
    """`Encoder.from_pretrained` that gives every caller with the same arguments the same encoder.

    Each caller closes it once; the last one frees the weights. A later call loads anew.
    """
    return shared(LoadSettings(model, **options))


def shared(settings: LoadSettings) -> Encoder:
    """`shared_encoder` for settings that are already made; unpickling an Encoder comes here."""
    with _lock:
        encoder = _encoders.get(settings)
        if encoder is None or not encoder.hold():
            encoder = _encoders[settings] = Encoder(load(settings), settings)
        return encoder
