"""From a model's name to its ready-made parts: finds the files, reads them, picks device and dtype."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from taskvec.adapters import Bodies
from taskvec.attention import choose_attention
from taskvec.checkpoint.config import ModelConfig
from taskvec.checkpoint.hub import Located, locate
from taskvec.checkpoint.read import Checkpoint, read_checkpoint
from taskvec.devices import MAX_BATCH_TOKENS, activation_dtype, check_process, choose_device, choose_dtype
from taskvec.errors import CheckpointError
from taskvec.linear import choose_linear
from taskvec.model import Transformer
from taskvec.names import DEFAULT_MODEL, MINI
from taskvec.options import check_flag
from taskvec.runner import Runner
from taskvec.tasks import Task
from taskvec.tokenizer import TextTokenizer

Device = str | torch.device

log = logging.getLogger("taskvec")


@dataclass(frozen=True)
class LoadSettings:
    """The arguments of `Encoder.from_pretrained`, checked. The token is kept out of repr, comparison and pickles."""

    model: str | Path
    revision: str | None = None
    device: Device | Sequence[Device] | None = None
    dtype: str | torch.dtype | None = None
    max_batch_tokens: int | None = None
    max_bodies: int | None = None
    merge_adapters: bool = True
    cache_dir: str | Path | None = None
    local_files_only: bool = False
    token: str | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.model, str | Path) or not str(self.model):
            raise TypeError(f"model is {self.model!r}: a hub id like {DEFAULT_MODEL} or a folder was expected")
        folder = Path(self.model).expanduser()
        # Absolute, because pickles may be read in another working directory.
        if isinstance(self.model, Path) or (folder.is_dir() and self.model != MINI):
            object.__setattr__(self, "model", str(folder.absolute()))
        if isinstance(self.device, list):  # hashable, so that equal settings share an encoder
            object.__setattr__(self, "device", tuple(self.device))
        for name in ("max_batch_tokens", "max_bodies"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise TypeError(f"{name} is {value!r}: a whole number or None was expected")
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}: use 1 or more, or None to have it chosen")
        check_flag("merge_adapters", self.merge_adapters)
        check_flag("local_files_only", self.local_files_only)
        if self.device == ():
            raise ValueError("device is an empty list: name at least one, or leave it out to have one chosen")

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "token": None}


@dataclass(frozen=True)
class EncoderParts:
    """What an Encoder is made of.

    Attributes:
        located: Where the model's files are.
        config: The sizes and instructions of the model.
        tasks: The tasks it has adapters for.
        tokenizer: Its tokenizer.
        runners: One for each device.
        max_batch_tokens: The most tokens in a batch.
    """

    located: Located
    config: ModelConfig
    tasks: tuple[Task, ...]
    tokenizer: TextTokenizer
    runners: tuple[Runner, ...]
    max_batch_tokens: int


def load(settings: LoadSettings) -> EncoderParts:
    """Find a model's files, read them and prepare every device.

    Args:
        settings: The arguments of `Encoder.from_pretrained`, which lists the errors.
    """
    check_process()
    requested = settings.device if isinstance(settings.device, tuple) else (settings.device,)
    devices = [choose_device(device) for device in requested]
    dtypes = [choose_dtype(settings.dtype, device) for device in devices]
    located = locate(
        str(settings.model),
        revision=settings.revision,
        cache_dir=settings.cache_dir,
        local_files_only=settings.local_files_only,
        token=settings.token,
    )
    try:
        checkpoint, tokenizer = read_checkpoint(located.folder), TextTokenizer.from_folder(located.folder)
    except PermissionError as error:
        raise PermissionError(f"{error.filename} cannot be read: give this user permission to read it") from error
    _report_missing_adapters(located, checkpoint.tasks)
    if tokenizer.vocab_size > checkpoint.config.vocab_size:
        raise CheckpointError(
            f"{located.folder}: tokenizer.json has {tokenizer.vocab_size} tokens, but the model has only "
            f"{checkpoint.config.vocab_size}: they are not of the same model, download it again"
        )
    return EncoderParts(
        located,
        checkpoint.config,
        checkpoint.tasks,
        tokenizer,
        tuple(_runner(checkpoint, device, dtype, settings) for device, dtype in zip(devices, dtypes, strict=True)),
        settings.max_batch_tokens or min(MAX_BATCH_TOKENS[device.type] for device in devices),
    )


def _runner(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, settings: LoadSettings) -> Runner:
    activations = activation_dtype(dtype)
    attention = choose_attention(device, activations, checkpoint.config.head_dim)
    transformer = Transformer.create(checkpoint.config, device, activations, attention)
    make_linear = choose_linear(device, dtype, activations, settings.merge_adapters)
    bodies = Bodies(checkpoint, device, activations, make_linear, merge=settings.merge_adapters, limit=settings.max_bodies)
    return Runner(transformer, bodies, device, dtype)


def _report_missing_adapters(located: Located, tasks: Sequence[Task]) -> None:
    """Refuse a hub model without adapters, half a download (transformers fetches the base alone); a folder may lack some."""
    if located.commit and not tasks:
        raise CheckpointError(
            f"the cached copy of {located.model_id} in {located.folder} has no task adapters: it was not downloaded by taskvec; "
            "connect once and load it with HF_HUB_OFFLINE unset and local_files_only=False"
        )
    if missing := [task for task in Task if task not in tasks]:
        log.warning("taskvec: %s has no adapter for %s; these tasks cannot be used", located.folder, ", ".join(missing))
