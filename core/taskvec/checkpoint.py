"""A model folder as one table of tensors under transformers' native names, whatever layout is on disk.

Two layouts are read (see README, "Checkpoints"): native names or the original ones with a PEFT adapter folder per task, and one
file with the adapters of all tasks stacked. Everything is checked by name and shape before a single weight is read.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskvec.config import ModelConfig, StackedAdapters, read_json
from taskvec.errors import CheckpointError
from taskvec.tasks import Task
from taskvec.tensors import TensorFile, TensorRef

WRAPPERS = {"base_model", "model", "roberta", "encoder"}

# One component of a stored name -> the native one. `qkv` is ours: it becomes q_proj, k_proj and v_proj.
COMPONENTS = {
    "emb_ln": "embeddings.LayerNorm",
    "mixer": "self_attn",
    "Wqkv": "qkv",
    "out_proj": "o_proj",
    "norm1": "post_attention_layernorm",
    "norm2": "post_mlp_layernorm",
    "lora_embedding_A": "lora_A",
    "lora_embedding_B": "lora_B",
}
QKV = ("q_proj", "k_proj", "v_proj")

# Stored by transformers, never used for embeddings: the tanh pooler, the language-model head, index buffers.
UNUSED = ("pooler.", "lm_head.", "embeddings.position_ids", "embeddings.token_type_ids", "rotary_emb.")

WORDS = "embeddings.word_embeddings"
TOKEN_TYPES = "embeddings.token_type_embeddings"

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
    """Open a model folder in either layout; raises CheckpointError naming the missing or left-over tensor."""
    config = ModelConfig.read(folder)
    found = _tensors(weight_files(folder))
    weights = {name: ref for name, ref in found.items() if "lora_" not in name}
    stacked = {name: ref for name, ref in found.items() if "lora_" in name}
    _check_names(weights, _shapes(config), folder)
    if config.stacked:
        adapters = _stacked_adapters(config, config.stacked, stacked, folder)
    elif stacked:
        raise CheckpointError(f"{next(iter(stacked.values()))} is an adapter, but config.json lists no lora_adaptations")
    else:
        adapters = _peft_adapters(config, folder)
    return Checkpoint(config, weights, adapters)


def weight_files(folder: Path, name: str = "model") -> list[Path]:
    """The safetensors files of a folder, sharded or not; raises CheckpointError where there are only pickles."""
    index = folder / f"{name}.safetensors.index.json"
    if index.is_file():
        files = [folder / shard for shard in sorted(set(read_json(index)["weight_map"].values()))]
    else:
        files = [folder / f"{name}.safetensors"]
    missing = [file for file in files if not file.is_file()]
    pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in folder.glob(pattern))
    if missing and pickles:
        raise CheckpointError(
            f"{folder} holds its weights as pickle ({', '.join(pickles)}), which can run any code when loaded. "
            "taskvec reads safetensors only: convert with transformers' save_pretrained and load that folder"
        )
    if missing:
        raise CheckpointError(f"{missing[0]} is missing; download the model again")
    return files


def native_name(key: str) -> str:
    """The native name of a stored tensor: wrappers dropped, original components translated, `.weight` of LoRA cut."""
    key = key.replace(".parametrizations.weight.original", ".weight").replace(".parametrizations.weight.0.", ".")
    parts = key.split(".")
    while len(parts) > 1 and parts[0] in WRAPPERS:
        parts = parts[1:]
    name = ".".join(COMPONENTS.get(part, part) for part in parts)
    return re.sub(r"\.(lora_[AB])(\.default)?\.weight$", r".\1", name)


def _tensors(files: Iterable[Path]) -> dict[str, TensorRef]:
    """Every used tensor by native name; fused query-key-value rows are split unless they belong to an adapter."""
    found: dict[str, TensorRef] = {}
    for file in map(TensorFile.open, files):
        for key, shape in file.shapes.items():
            name = native_name(key)
            if name.startswith(UNUSED):
                continue
            for part, ref in _split_qkv(name, TensorRef(file, key, shape)):
                if part in found:
                    raise CheckpointError(f"{ref} and {found[part]} are the same tensor, {part}")
                found[part] = ref
    return found


def _split_qkv(name: str, ref: TensorRef) -> Iterable[tuple[str, TensorRef]]:
    if ".qkv." not in name or "lora_" in name:
        return [(name, ref)]
    if ref.shape[0] % 3:
        raise CheckpointError(f"{ref} has {ref.shape[0]} rows, which do not split into query, key and value")
    return [(name.replace(".qkv.", f".{part}."), third) for part, third in zip(QKV, ref.thirds(), strict=True)]


def _modules(config: ModelConfig) -> dict[str, tuple[int, int]]:
    """Every module that can carry an adapter, with the shape of its weight."""
    width, inner = config.width, config.intermediate
    layer = {f"self_attn.{part}": (width, width) for part in (*QKV, "o_proj")}
    layer |= {"mlp.fc1": (inner, width), "mlp.fc2": (width, inner)}
    embeddings = {WORDS: (config.vocab_size, width), TOKEN_TYPES: (config.type_vocab_size, width)}
    return embeddings | {f"layers.{i}.{name}": shape for i in range(config.layers) for name, shape in layer.items()}


def _shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor the model needs, by native name."""
    shapes: dict[str, tuple[int, ...]] = {}
    for module, shape in _modules(config).items():
        shapes[f"{module}.weight"] = shape
        if not module.startswith("embeddings."):
            shapes[f"{module}.bias"] = shape[:1]
    norms = ["embeddings.LayerNorm"]
    norms += [f"layers.{i}.post_{part}_layernorm" for i in range(config.layers) for part in ("attention", "mlp")]
    return shapes | {f"{norm}.{part}": (config.width,) for norm in norms for part in ("weight", "bias")}


def _check_names(found: Mapping[str, TensorRef], expected: Mapping[str, tuple[int, ...]], folder: Path) -> None:
    for name in expected:
        if name not in found:
            raise CheckpointError(f"{folder} lacks the tensor {name}: {len(expected)} are needed, {len(found)} were found")
    for name, ref in found.items():
        if name not in expected:
            raise CheckpointError(f"{ref} is not part of jina-embeddings-v3: refusing to guess what it does")
        if ref.shape != expected[name]:
            raise CheckpointError(f"{ref} has shape {ref.shape}, config.json calls for {expected[name]}")


def _stacked_adapters(
    config: ModelConfig, stacked: StackedAdapters, tensors: Mapping[str, TensorRef], folder: Path
) -> dict[Task, dict[str, LowRank]]:
    """Adapters of the original layout: entry i of every stack belongs to the i-th of ``lora_adaptations``."""
    for ref in tensors.values():
        if ref.shape[0] != len(stacked.names):
            raise CheckpointError(f"{ref} stacks {ref.shape[0]} adapters, config.json names {len(stacked.names)}")
    adapters = {}
    for index, name in enumerate(stacked.names):
        if name in list(Task):
            entries = {key: ref.entry(index) for key, ref in tensors.items()}
            ranks = dict.fromkeys(_modules(config), (stacked.rank, stacked.scale))
            adapters[Task(name)] = _low_rank(entries, _modules(config), ranks, folder / "model.safetensors")
    return adapters


def _peft_adapters(config: ModelConfig, folder: Path) -> dict[Task, dict[str, LowRank]]:
    adapters = {}
    for task in Task:
        path = folder / task.adapter
        if not path.is_dir():
            continue
        settings = read_json(path / "adapter_config.json")
        ranks = _peft_ranks(settings, _modules(config), path)
        entries = {
            name: ref.transpose() if name.startswith("embeddings.") else ref
            for name, ref in _tensors(weight_files(path, "adapter_model")).items()
        }
        adapters[task] = _low_rank(entries, _modules(config), ranks, path)
    return adapters


def _peft_ranks(settings: dict[str, Any], modules: Iterable[str], path: Path) -> dict[str, tuple[int, float]]:
    """Rank and scale of every module the adapter targets, by PEFT's rules (suffix list or regular expression)."""
    used = [name for name in UNSUPPORTED_PEFT if settings.get(name)]
    if settings.get("peft_type") != "LORA" or settings.get("bias", "none") != "none" or used:
        detail = f"it uses {', '.join(used)}" if used else "it is not LoRA without bias"
        raise CheckpointError(f"{path / 'adapter_config.json'}: only plain LoRA adapters can be merged, and {detail}")
    targets = settings["target_modules"]
    ranks = {}
    for module in modules:
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


def _low_rank(
    entries: Mapping[str, TensorRef],
    modules: Mapping[str, tuple[int, int]],
    ranks: Mapping[str, tuple[int, float]],
    source: Path,
) -> dict[str, LowRank]:
    """Pair the A and B of every module; anything missing, left over or of another shape is an error."""
    left_over = dict(entries)
    updates = {}
    for module, (rank, scale) in ranks.items():
        pair = _take_pair(left_over, entries, module)
        if pair is None:
            raise CheckpointError(f"{source} lacks the adapter of {module} (lora_A and lora_B)")
        left, right = pair
        rows, columns = modules[module]
        if left.shape != (rows, rank) or right.shape != (rank, columns):
            raise CheckpointError(
                f"{left} and {right.key} have shapes {left.shape} and {right.shape}, "
                f"{module} at rank {rank} calls for {(rows, rank)} and {(rank, columns)}"
            )
        updates[module] = LowRank(left, right, scale)
    if left_over:
        raise CheckpointError(f"{next(iter(left_over.values()))} fits no adapted module of jina-embeddings-v3")
    return updates


def _take_pair(
    left_over: dict[str, TensorRef], entries: Mapping[str, TensorRef], module: str
) -> tuple[TensorRef, TensorRef] | None:
    """The (left, right) factors of a module: of its own, or its rows of an adapter on the fused projection."""
    parent, _, part = module.rpartition(".")
    own = (f"{module}.lora_A", f"{module}.lora_B")
    fused = (f"{parent}.qkv.lora_A", f"{parent}.qkv.lora_B")
    for names in (own, fused) if part in QKV else (own,):
        if not all(name in entries for name in names):
            continue
        first, second = (entries[name] for name in names)
        for name in names:
            left_over.pop(name, None)
        if names == fused:
            second = second.thirds()[QKV.index(part)]
        return (first, second) if module.startswith("embeddings.") else (second, first)
    return None
