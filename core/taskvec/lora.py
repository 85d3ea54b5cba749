"""Where the LoRA factors of each task lie, in either layout, paired and checked. Reads no values; `adapters` merges them."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskvec.config import ModelConfig, StackedAdapters, read_json
from taskvec.errors import CheckpointError
from taskvec.layout import QKV, modules, native_name, read_tensors, split_qkv, weight_files
from taskvec.tasks import Task
from taskvec.tensors import TensorRef

# PEFT options that change the formula or the set of modules; none is used by the published adapters.
UNSUPPORTED_PEFT = [
    "use_dora",
    "use_bdlora",
    "use_qalora",
    "fan_in_fan_out",
    "lora_bias",
    "modules_to_save",
    "layers_to_transform",
    "layer_replication",
    "exclude_modules",
    "target_parameters",
    "trainable_token_indices",
    "alora_invocation_tokens",
    "arrow_config",
]


@dataclass(frozen=True)
class LowRank:
    """A LoRA update of one weight: ``scale * left @ right``, left (rows, r), right (r, columns)."""

    left: TensorRef
    right: TensorRef
    scale: float


def stacked_adapters(
    config: ModelConfig, stacked: StackedAdapters, tensors: Mapping[str, TensorRef], folder: Path
) -> dict[Task, dict[str, LowRank]]:
    """Adapters of the original layout: entry i of every stack belongs to the i-th of ``lora_adaptations``."""
    for ref in tensors.values():
        if ref.shape[0] != len(stacked.names):
            raise CheckpointError(f"{ref} stacks {ref.shape[0]} adapters, config.json names {len(stacked.names)}")
    adapters = {}
    for index, name in enumerate(stacked.names):
        if name in list(Task):
            entries = split_qkv({key: ref.entry(index) for key, ref in tensors.items()})
            ranks = dict.fromkeys(modules(config), (stacked.rank, stacked.scale))
            adapters[Task(name)] = _pair(entries, modules(config), ranks, folder / "model.safetensors")
    return adapters


def peft_adapters(config: ModelConfig, folder: Path) -> dict[Task, dict[str, LowRank]]:
    """Adapters of the -hf layout: a folder for each task; PEFT keeps the factors of embeddings transposed."""
    adapters = {}
    for task in Task:
        path = folder / task.adapter
        if not path.is_dir():
            continue
        settings = read_json(path / "adapter_config.json")
        ranks = _peft_ranks(settings, modules(config), path)
        entries = {
            name: ref.transpose() if name.startswith("embeddings.") else ref
            for name, ref in split_qkv(read_tensors(weight_files(path, "adapter_model"))).items()
        }
        adapters[task] = _pair(entries, modules(config), ranks, path)
    return adapters


def _peft_ranks(settings: dict[str, Any], names: Iterable[str], path: Path) -> dict[str, tuple[int, float]]:
    """Rank and scale of every module the adapter targets, by PEFT's rules (suffix list or regular expression)."""
    used = [name for name in UNSUPPORTED_PEFT if settings.get(name)]
    if settings.get("peft_type") != "LORA" or settings.get("bias", "none") != "none" or used:
        detail = f"it uses {', '.join(used)}" if used else "it is not LoRA without bias"
        raise CheckpointError(f"{path / 'adapter_config.json'}: only plain LoRA adapters can be merged, and {detail}")
    targets = settings["target_modules"]
    ranks = {}
    for module in names:
        if not _targeted(module, targets):
            continue
        rank = int(_pattern(settings.get("rank_pattern"), module, settings["r"]))
        alpha = float(_pattern(settings.get("alpha_pattern"), module, settings["lora_alpha"]))
        ranks[module] = rank, alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)
    return ranks


def _targeted(module: str, targets: str | list[str]) -> bool:
    aliases = [module, *(module.replace(part, "qkv") for part in QKV if module.endswith(part))]
    if isinstance(targets, str):
        return any(re.fullmatch(targets, alias) for alias in aliases)
    native = [native_name(target) for target in targets]
    return any(f".{alias}".endswith(f".{target}") for alias in aliases for target in native)


def _pattern(patterns: dict[str, float] | None, module: str, default: float) -> float:
    """The value whose key, a regular expression, matches the end of the module's name (PEFT's rank_pattern rule)."""
    matches = (value for key, value in (patterns or {}).items() if re.match(rf"(.*\.)?({key})$", module))
    return next(matches, default)


def _pair(
    entries: Mapping[str, TensorRef],
    shapes: Mapping[str, tuple[int, int]],
    ranks: Mapping[str, tuple[int, float]],
    source: Path,
) -> dict[str, LowRank]:
    """The A and B of every module as left and right factor; anything missing, left over or of another shape is an error."""
    left_over = dict(entries)
    updates = {}
    for module, (rank, scale) in ranks.items():
        try:
            a, b = left_over.pop(f"{module}.lora_A"), left_over.pop(f"{module}.lora_B")
        except KeyError as error:
            raise CheckpointError(f"{source} lacks the adapter tensor {error.args[0]}") from None
        left, right = (a, b) if module.startswith("embeddings.") else (b, a)
        rows, columns = shapes[module]
        if left.shape != (rows, rank) or right.shape != (rank, columns):
            raise CheckpointError(
                f"{left} and {right.key} have shapes {left.shape} and {right.shape}, "
                f"{module} at rank {rank} calls for {(rows, rank)} and {(rank, columns)}"
            )
        updates[module] = LowRank(left, right, scale)
    if left_over:
        raise CheckpointError(f"{next(iter(left_over.values()))} fits no adapted module of jina-embeddings-v3")
    return updates
