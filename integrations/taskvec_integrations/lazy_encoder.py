"""LazyEncoder: an encoder by name, loaded when it is first needed. The way to give a store a device or a dtype."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taskvec import Encoder, shared_encoder
from taskvec.integration import DEFAULT_MODEL


@dataclass
class LazyEncoder:
    """An encoder, or the name of a model that is loaded when it is first needed.

    This is how a store is given a device, a dtype or a revision of a model that it loads itself::

        store = QdrantStore(client, "docs", encoder=LazyEncoder("mini", {"device": "cpu", "dtype": "int8"}))

    Equal models with equal arguments are loaded once per process. A LazyEncoder may be used by several threads. A pickled one
    holds neither weights nor a token, and loads the model again where it is unpickled.

    Args:
        source: An Encoder, or the name of a model: a hub id, a folder, or "mini".
        arguments: What `shared_encoder` takes beside the model: `device`, `dtype`, `token` and the like. A value that is a
            function is called when the model is loaded, so that a secret need not be kept here.

    Raises:
        TypeError: `source` is neither an Encoder nor a name.
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
        """The name of the model: `source`, or the encoder's `model_id`."""
        return self.source.model_id if isinstance(self.source, Encoder) else str(self.source)

    def get(self) -> Encoder:
        """The encoder, which is loaded at the first call; raises what `Encoder.from_pretrained` raises."""
        if isinstance(self.source, Encoder):
            return self.source
        with self._lock:  # two threads that both load would hold the encoder twice, and close it once
            if self._loaded is None:
                arguments = {name: value() if callable(value) else value for name, value in self.arguments.items()}
                self._loaded = shared_encoder(self.source, **arguments)
            return self._loaded

    def close(self) -> None:
        """Release an encoder that was loaded here; a later `get` loads it again. One that was passed in stays open."""
        with self._lock:
            loaded, self._loaded = self._loaded, None
        if loaded is not None:
            loaded.close()

    def __getstate__(self) -> dict[str, object]:
        return {"source": self.source, "arguments": {name: value for name, value in self.arguments.items() if name != "token"}}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _loaded=None, _lock=threading.Lock())
