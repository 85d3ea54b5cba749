"""A model folder as one table of tensors under transformers' native names, whatever layout is on disk.

Two layouts are read (README, "Checkpoints"): native or original names with a PEFT adapter folder for each task, and one file with
the adapters of all tasks stacked. Everything is checked by name and shape before a single value is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from taskvec.checkpoint.config import ModelConfig
from taskvec.checkpoint.layout import read_tensors, shapes, split_qkv, weight_files
from taskvec.checkpoint.lora import LowRank, peft_adapters, stacked_adapters
from taskvec.checkpoint.tensors import TensorRef
from taskvec.errors import CheckpointError
from taskvec.tasks import Task


@dataclass(frozen=True)
class Checkpoint:
    """Weights by native name, and per task the low-rank updates by module name. Nothing is in memory yet."""

    config: ModelConfig
    weights: Mapping[str, TensorRef]
    adapters: Mapping[Task, Mapping[str, LowRank]]

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks this checkpoint has an adapter for, in the model's order."""
        return tuple(task for task in Task if task in self.adapters)


def read_checkpoint(folder: Path) -> Checkpoint:
    """Open a model folder in either layout.

    Args:
        folder: With config.json, tokenizer.json and safetensors files.

    Returns:
        Every tensor by name; their values are read later.

    Raises:
        CheckpointError: Something is missing, left over or of another shape. The message names the file and the part.
    """
    config = ModelConfig.read(folder)
    found = read_tensors(weight_files(folder))
    weights = split_qkv({name: ref for name, ref in found.items() if "lora_" not in name})
    stacked = {name: ref for name, ref in found.items() if "lora_" in name}
    _check_names(weights, shapes(config), folder)
    if not stacked:
        adapters = peft_adapters(config, folder)
    elif config.stacked:
        adapters = stacked_adapters(config, config.stacked, stacked, folder)
    else:
        raise CheckpointError(f"{next(iter(stacked.values()))} is an adapter, but config.json lists no lora_adaptations")
    return Checkpoint(config, weights, adapters)


def _check_names(found: Mapping[str, TensorRef], expected: Mapping[str, tuple[int, ...]], folder: Path) -> None:
    for name in expected:
        if name not in found:
            raise CheckpointError(f"{folder} lacks the tensor {name}: {len(expected)} are needed, {len(found)} were found")
    for name, ref in found.items():
        if name not in expected:
            raise CheckpointError(f"{ref} is not part of jina-embeddings-v3: refusing to guess what it does")
        if ref.shape != expected[name]:
            raise CheckpointError(f"{ref} has shape {ref.shape}, but config.json calls for {expected[name]}")
