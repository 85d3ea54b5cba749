"""Where the LoRA factors of each task lie, in either layout, paired and checked. Reads no values; `adapters` merges them."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskvec.checkpoint.config import ModelConfig, StackedAdapters, parsing, read_json
from taskvec.checkpoint.layout import QKV, modules, native_name, read_tensors, split_qkv, weight_files
from taskvec.checkpoint.tensors import TensorRef
from taskvec.errors import CheckpointError
from taskvec.tasks import Task

# What plain LoRA may state in adapter_config.json. Any other setting that is on changes the formula, the modules or (when PEFT
# loads it) the base weights, so a new one is refused until somebody has looked at it.
KNOWN_PEFT = {"peft_type", "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "target_modules", "bias"}
NEUTRAL_PEFT = {
    *("auto_mapping", "base_model_name_or_path", "ensure_weight_tying", "inference_mode", "init_lora_weights", "lora_dropout"),
    *("megatron_core", "peft_version", "qalora_group_size", "revision", "runtime_config", "task_type"),
}


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
            raise CheckpointError(f"{ref} stacks {ref.shape[0]} adapters, but config.json names {len(stacked.names)}")
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
    source = path / "adapter_config.json"
    _refuse_other_than_lora(settings, source)
    with parsing(source):
        targets = settings["target_modules"]
        targeted = [module for module in names if _targeted(module, targets)]
        ranks = _by_pattern(settings.get("rank_pattern"), targeted, settings["r"], source)
        alphas = _by_pattern(settings.get("alpha_pattern"), targeted, settings["lora_alpha"], source)
        root = math.sqrt if settings.get("use_rslora") else float
        return {module: (int(ranks[module]), float(alphas[module]) / root(ranks[module])) for module in targeted}


def _refuse_other_than_lora(settings: dict[str, Any], source: Path) -> None:
    others = [name for name in settings if settings[name] and name not in KNOWN_PEFT | NEUTRAL_PEFT]
    if settings.get("init_lora_weights") not in (True, False, None, "gaussian"):
        others.append("init_lora_weights")
    if settings.get("peft_type") != "LORA":
        others.append("peft_type")
    if settings.get("bias", "none") != "none":
        others.append("bias")
    if others:
        used = ", ".join(f"{name}={settings.get(name)!r}" for name in others)
        raise CheckpointError(f"{source}: only plain LoRA adapters can be merged faithfully, but this one has {used}")


def _aliases(module: str) -> list[str]:
    """A module's native name and, for query, key and value, the name of the fused projection."""
    return [module, *(module.replace(part, "qkv") for part in QKV if module.endswith(part))]


def _targeted(module: str, targets: str | list[str]) -> bool:
    if isinstance(targets, str):
        return any(re.fullmatch(targets, alias) for alias in _aliases(module))
    native = [native_name(target) for target in targets]
    return any(f".{alias}".endswith(f".{target}") for alias in _aliases(module) for target in native)


def _by_pattern(patterns: dict[str, float] | None, names: Iterable[str], default: float, source: Path) -> dict[str, float]:
    """A value for each module: of the first pattern, a regular expression, that matches the end of its name, else the default."""
    values = {}
    unused = set(patterns or {})
    for module in names:
        values[module] = default
        for key, value in (patterns or {}).items():
            if any(re.match(rf"(.*\.)?({native_name(key)})$", alias) for alias in _aliases(module)):
                values[module] = value
                unused.discard(key)
                break
    if unused := {key for key in unused if "dense" not in key}:  # the pooler's, which is never used
        raise CheckpointError(f"{source}: the pattern {min(unused)!r} matches no adapted module, so what it means is unclear")
    return values


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
                f"but {module} at rank {rank} calls for {(rows, rank)} and {(rank, columns)}"
            )
        updates[module] = LowRank(left, right, scale)
    if left_over:
        raise CheckpointError(f"{next(iter(left_over.values()))} fits no adapted module of jina-embeddings-v3")
    return updates
