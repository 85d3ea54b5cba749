"""What both embedders share: their common parameters, loading and closing the shared model, to and from dicts.

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
from taskvec.integration import DEFAULT_MODEL, LoadSettings, Vectors, run_in_thread, scaled_int8
from taskvec_integrations.lazy_encoder import LazyEncoder
from taskvec_integrations.task_choice import TaskChoice, choose_task

log = logging.getLogger("taskvec")

Device = ComponentDevice | str | list[str] | None

LOAD_OPTIONS = {option.name for option in fields(LoadSettings)} - {"model"}
"""What can be said about loading a model beside its name; the embedders have parameters for some of them."""

TO_PRECISION: dict[str, Callable[[Vectors], Any]] = {
    "float32": lambda vectors: vectors,
    "float16": lambda vectors: vectors.astype(np.float16),
    "int8": scaled_int8,
    "binary": lambda vectors: quantize(vectors, "binary"),
    "ubinary": lambda vectors: quantize(vectors, "ubinary"),
}
"""By name, the function from (n, dimensions) float32 vectors to the numbers of embeddings. int8 keeps the cosine."""


def hub_token() -> Secret:
    """The token that Haystack's own embedders look for; public models need none."""
    return Secret.from_env_var(["HF_API_TOKEN", "HF_TOKEN"], strict=False)


def check_texts(**parameters: object) -> None:
    """Raise a TypeError for the first parameter that is not a str."""
    for name, value in parameters.items():
        if not isinstance(value, str):
            raise TypeError(f"{name} is {value!r}: a str was expected")


@dataclass(eq=False, repr=False)
class BaseEmbedder:
    """A component whose model is shared with every other component of the same settings in this process.

    A dataclass, so that each parameter stands in one place: the fields are the arguments of `__init__`, the attributes and what
    `to_dict` writes. TaskvecTextEmbedder says what they mean.
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
            raise TypeError("token is not a Secret: use Secret.from_env_var('HF_TOKEN') or Secret.from_token(...)")
        if self.precision not in TO_PRECISION:
            raise ValueError(f"unknown precision {self.precision!r}: use one of {', '.join(TO_PRECISION)}")
        check_texts(prefix=self.prefix, suffix=self.suffix)
        choose_task(self.task, self.operation)
        # YAML holds plain strings.
        self.model = str(self.model)
        self.task = None if self.task is None else str(self.task)
        self.dtype = None if self.dtype is None else str(self.dtype).removeprefix("torch.")
        self._lazy = LazyEncoder(self.model, self._load_options())

    def warm_up(self) -> None:
        """Load the model, if this component has not loaded it yet.

        Raises:
            CheckpointError, OSError, ValueError: As `Encoder.from_pretrained` does; the message says what to do.
        """
        self._lazy.get()

    async def warm_up_async(self) -> None:
        """`warm_up` in a thread, so that other tasks of the event loop keep running."""
        await run_in_thread(self.warm_up)

    def close(self) -> None:
        """Let go of the model; a run loads it again.

        Its memory is freed when the last component that shares it has closed.
        """
        self._lazy.close()

    async def close_async(self) -> None:
        """`close` in a thread."""
        await run_in_thread(self.close)

    def to_dict(self) -> dict[str, Any]:
        """The parameters for `Pipeline.dumps`.

        Raises:
            ValueError: The token is not from an environment variable.
        """
        return default_to_dict(self, **{parameter.name: getattr(self, parameter.name) for parameter in fields(self)})

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The component that `to_dict` was called on."""
        return default_from_dict(cls, data)

    def _load_options(self) -> dict[str, Any]:
        """The parameters that say how to load the model, for `shared_encoder`; a token is read only when that is called."""
        options = {name: getattr(self, name) for name in LOAD_OPTIONS if hasattr(self, name)}
        if isinstance(self.device, ComponentDevice):
            options["device"] = self.device.to_torch_str()
        if self.token:
            options["token"] = self.token.resolve_value
        return {name: value for name, value in options.items() if value is not None}

    def _encode_options(self, encoder: Encoder) -> EncodeOptions:
        """The options of `encode`; dimensions that model or precision do not allow are an error before any text is read."""
        options: EncodeOptions = {"task": choose_task(self.task, self.operation), "dimensions": self.dimensions}
        TO_PRECISION[self.precision](encoder.encode([], **options))
        return options
