"""From a model's name to its ready-made parts: finds the files, reads them, picks device and dtype."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import torch

from taskvec.adapters import Bodies
from taskvec.attention import choose_attention
from taskvec.checkpoint import read_checkpoint
from taskvec.config import ModelConfig
from taskvec.devices import choose_device, choose_dtype
from taskvec.errors import CheckpointError
from taskvec.hub import Located, locate
from taskvec.model import Transformer
from taskvec.runner import Runner
from taskvec.tasks import Task
from taskvec.tokenizer import TextTokenizer


class LoadOptions(TypedDict, total=False):
    """Keyword options of `Encoder.from_pretrained`; see there for what they mean."""

    revision: str | None
    device: str | torch.device | None
    dtype: str | torch.dtype | None
    max_batch_tokens: int | None
    max_bodies: int | None
    merge_adapters: bool
    cache_dir: str | Path | None
    local_files_only: bool
    token: str | None


@dataclass(frozen=True)
class LoadSettings:
    """Everything `from_pretrained` was given. The token is kept out of repr, comparison and pickles."""

    model: str | Path
    revision: str | None = None
    device: str | torch.device | None = None
    dtype: str | torch.dtype | None = None
    max_batch_tokens: int | None = None
    max_bodies: int | None = None
    merge_adapters: bool = True
    cache_dir: str | Path | None = None
    local_files_only: bool = False
    token: str | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("max_batch_tokens", "max_bodies"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, at least 1 is needed; None lets taskvec choose")

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "token": None}


@dataclass(frozen=True)
class Parts:
    """What an Encoder is made of."""

    located: Located
    config: ModelConfig
    tasks: tuple[Task, ...]
    tokenizer: TextTokenizer
    runner: Runner


def load(settings: LoadSettings) -> Parts:
    """Load a model; raises what `choose_device`, `choose_dtype`, `locate` and `read_checkpoint` raise."""
    device = choose_device(settings.device)
    dtype = choose_dtype(settings.dtype, device)
    located = locate(
        settings.model,
        revision=settings.revision,
        cache_dir=settings.cache_dir,
        local_files_only=settings.local_files_only,
        token=settings.token,
    )
    checkpoint = read_checkpoint(located.folder)
    config = checkpoint.config
    tokenizer = TextTokenizer.from_folder(located.folder)
    if tokenizer.vocab_size > config.vocab_size:
        raise CheckpointError(
            f"{located.folder}: tokenizer.json has {tokenizer.vocab_size} tokens, the model only {config.vocab_size}"
        )
    transformer = Transformer.create(config, device, dtype, choose_attention(device, dtype, config.head_dim))
    bodies = Bodies(checkpoint, device, dtype, merge=settings.merge_adapters, limit=settings.max_bodies)
    return Parts(located, config, checkpoint.tasks, tokenizer, Runner(transformer, bodies, device, dtype))
