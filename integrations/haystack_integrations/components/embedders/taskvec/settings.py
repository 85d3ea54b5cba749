"""What both embedders share: their common parameters, the shared model behind them, loading and letting go, to and from dicts.

Knows Haystack's conventions for components, no Documents.
"""

import logging
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from haystack import default_from_dict, default_to_dict
from haystack.utils import ComponentDevice, Secret

from taskvec import EncodeOptions, Encoder, Task, quantize
from taskvec.integration import DEFAULT_MODEL, Vectors, run_in_thread, scaled_int8
from taskvec_integrations.lazy_encoder import LazyEncoder
from taskvec_integrations.task_choice import TaskChoice, choose_task

log = logging.getLogger("taskvec")

Device = ComponentDevice | str | list[str] | None

PACK: dict[str, Callable[[Vectors], Any]] = {
    "float32": lambda vectors: vectors,
    "float16": lambda vectors: vectors.astype(np.float16),
    "int8": scaled_int8,
    "binary": lambda vectors: quantize(vectors, "binary"),
    "ubinary": lambda vectors: quantize(vectors, "ubinary"),
}
"""By precision: (n, d) float32 vectors to the numbers that go into embeddings. Those of int8 keep the cosine."""


def hub_token() -> Secret:
    """The token that Haystack's own embedders look for; none is needed for public models."""
    return Secret.from_env_var(["HF_API_TOKEN", "HF_TOKEN"], strict=False)


def check_texts(**parameters: object) -> None:
    """A parameter that is no str is a TypeError that names it."""
    for name, value in parameters.items():
        if not isinstance(value, str):
            raise TypeError(f"{name} is {value!r}: a str was expected")


@dataclass(eq=False, repr=False)
class Embedder:
    """Parameters and life of a component whose model is shared with every other one of the same settings in this process.

    A dataclass, so that the parameters stand in one place: they are `__init__`, the attributes and what `to_dict` writes.
    """

    operation: ClassVar[Task]

    model: str = DEFAULT_MODEL
    _: KW_ONLY
    task: TaskChoice = "auto"
    dimensions: int | None = None
    precision: str = "float32"
    prefix: str = ""
    suffix: str = ""
    revision: str | None = None
    device: Device = None
    dtype: str | None = None
    max_batch_tokens: int | None = None
    token: Secret | None = field(default_factory=hub_token)

    def __post_init__(self) -> None:
        if not isinstance(self.model, str | Path):
            raise TypeError(f"model is {self.model!r}: a hub id like {DEFAULT_MODEL}, a folder or 'mini' was expected")
        if not isinstance(self.token, Secret | None):
            raise TypeError("token is no Secret: use Secret.from_env_var('HF_TOKEN') or Secret.from_token(...)")
        if self.precision not in PACK:
            raise ValueError(f"unknown precision {self.precision!r}: embeddings of Documents are one of {', '.join(PACK)}")
        check_texts(prefix=self.prefix, suffix=self.suffix)
        choose_task(self.task, self.operation)
        # Plain strings, which YAML can hold.
        self.model = str(self.model)
        self.task = None if self.task is None else str(self.task)
        self.dtype = None if self.dtype is None else str(self.dtype).removeprefix("torch.")
        self._lazy = LazyEncoder(self.model, self._arguments())

    def warm_up(self) -> None:
        """Load the model, if this component has none; raises what `Encoder.from_pretrained` raises."""
        self._lazy.get()

    async def warm_up_async(self) -> None:
        """`warm_up` in a thread: other tasks of the event loop go on."""
        await run_in_thread(self.warm_up)

    def close(self) -> None:
        """Let go of the model, whose memory is freed when the last component that shares it has closed; a run loads it again."""
        self._lazy.close()

    async def close_async(self) -> None:
        """`close` in a thread."""
        await run_in_thread(self.close)

    def to_dict(self) -> dict[str, Any]:
        """The parameters for Pipeline.dumps; ValueError for a token that is not from an environment variable."""
        return default_to_dict(self, **{parameter.name: getattr(self, parameter.name) for parameter in fields(self)})

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The component whose `to_dict` this is."""
        return default_from_dict(cls, data)

    def _arguments(self) -> dict[str, Any]:
        device = self.device.to_torch_str() if isinstance(self.device, ComponentDevice) else self.device
        given = {
            "revision": self.revision,
            "device": device,
            "dtype": self.dtype,
            "max_batch_tokens": self.max_batch_tokens,
            "token": self.token and self.token.resolve_value,
        }
        return {name: value for name, value in given.items() if value is not None}

    def _options(self, encoder: Encoder) -> EncodeOptions:
        """How to encode; a width that the model has not or the precision cannot hold is refused here, before any text is read."""
        options: EncodeOptions = {"task": choose_task(self.task, self.operation), "dimensions": self.dimensions}
        PACK[self.precision](encoder.encode([], **options))
        return options
