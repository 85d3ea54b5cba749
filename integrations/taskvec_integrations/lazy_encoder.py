"""LazyEncoder: an encoder by name, loaded when it is first needed. The way to give a store or client a device or a dtype."""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taskvec import Encoder, Usage, shared_encoder
from taskvec.integration import DEFAULT_MODEL

log = logging.getLogger("taskvec")


@dataclass
class LazyEncoder:
    """An Encoder, or the name of a model (hub id, folder, "mini") that is loaded when it is first needed, once per process.

    arguments: what `shared_encoder` takes beside the model (device, dtype, ...). A value that is a function is called when the
    model is loaded, so that a secret need not be kept here. Pickles without weights and without a token, and loads again where
    it is unpickled. `close` lets go of an encoder that was loaded here, never of one that was passed in. Thread-safe.
    """

    source: Encoder | str | Path = DEFAULT_MODEL
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)
    _loaded: Encoder | None = field(default=None, init=False, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.source, Encoder | str | Path):
            raise TypeError(f"encoder is {self.source!r}: an Encoder or the name of a model was expected")

    @property
    def name(self) -> str:
        """What the model is called: the name that was given, or the encoder's."""
        return self.source.model_id if isinstance(self.source, Encoder) else str(self.source)

    def get(self) -> Encoder:
        """The encoder, loaded if need be; raises what `Encoder.from_pretrained` raises."""
        if isinstance(self.source, Encoder):
            return self.source
        with self._lock:  # two threads that both load would hold the encoder twice, and close it once
            if self._loaded is None:
                arguments = {name: value() if callable(value) else value for name, value in self.arguments.items()}
                self._loaded = shared_encoder(self.source, **arguments)
            return self._loaded

    def close(self) -> None:
        """Let go of what was loaded here; a later `get` loads it again."""
        with self._lock:
            loaded, self._loaded = self._loaded, None
        if loaded is not None:
            loaded.close()

    def __getstate__(self) -> dict[str, object]:
        return {"source": self.source, "arguments": {name: value for name, value in self.arguments.items() if name != "token"}}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _loaded=None, _lock=threading.Lock())


def warn_of_cuts(usage: Usage, encoder: Encoder) -> None:
    """Say so where texts of a call were longer than the model's context, for clients that return no report."""
    if usage.truncated:
        log.warning("%d texts were cut at %d tokens, the context of %s", usage.truncated, encoder.max_tokens, encoder.model_id)
