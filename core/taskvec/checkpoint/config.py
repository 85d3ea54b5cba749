"""What a model folder says about itself: sizes, tasks, instructions. Reads JSON only, never weights."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskvec.errors import CheckpointError
from taskvec.tasks import Task

# XLM-RoBERTa counts two positions more than it can use (positions start after the padding index); both published
# configurations say 8194 for a context of 8192 tokens.
RESERVED_POSITIONS = 2

# What the forward pass implements; a checkpoint that asks for anything else would load and be silently wrong.
REQUIRED: dict[str, tuple[object, ...]] = {
    "hidden_act": ("gelu",),
    "position_embedding_type": ("rotary",),
    "emb_pooler": (None, "mean"),
    "is_decoder": (False,),
    "rope_scaling": (None,),
    "partial_rotary_factor": (1, None),
    "rotary_emb_fraction": (1, None),
    "rotary_emb_scale_base": (None,),
    "rotary_emb_interleaved": (False,),
}


@dataclass(frozen=True)
class StackedAdapters:
    """LoRA settings of the original one-file layout: all tasks share rank and scale and are stacked in this order."""

    names: tuple[str, ...]
    rank: int
    scale: float


@dataclass(frozen=True)
class ModelConfig:
    """The sizes of a jina-embeddings-v3 model, read from its ``config.json``; ``max_tokens`` counts special tokens."""

    vocab_size: int
    type_vocab_size: int
    width: int
    layers: int
    heads: int
    intermediate: int
    layer_norm_eps: float
    rope_theta: float
    max_tokens: int
    instructions: Mapping[Task, str]
    stacked: StackedAdapters | None

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.width // self.heads

    @classmethod
    def read(cls, folder: Path) -> "ModelConfig":
        """Read ``config.json`` (either layout); raises CheckpointError for anything the forward pass does not do."""
        raw = read_json(folder / "config.json")
        native = raw.get("model_type") == "jina_embeddings_v3"  # its positions are rotary whatever else is written there
        for name, values in REQUIRED.items():
            if raw.get(name, values[0]) not in values and not (native and name == "position_embedding_type"):
                message = f"{folder / 'config.json'}: {name} is {raw[name]!r}, but taskvec implements {values[0]!r} only"
                raise CheckpointError(message)
        with parsing(folder / "config.json"):
            return cls._parse(raw, folder)

    @classmethod
    def _parse(cls, raw: dict[str, Any], folder: Path) -> "ModelConfig":
        width, heads = int(raw["hidden_size"]), int(raw["num_attention_heads"])
        if width % (2 * heads) or raw.get("head_dim", width // heads) != width // heads:
            raise CheckpointError(f"{folder / 'config.json'}: {heads} heads do not divide hidden_size {width} evenly")
        return cls(
            vocab_size=int(raw["vocab_size"]),
            type_vocab_size=int(raw["type_vocab_size"]),
            width=width,
            layers=int(raw["num_hidden_layers"]),
            heads=heads,
            intermediate=int(raw["intermediate_size"]),
            layer_norm_eps=float(raw["layer_norm_eps"]),
            rope_theta=_rope_theta(raw, folder),
            max_tokens=int(raw["max_position_embeddings"]) - RESERVED_POSITIONS,
            instructions=_instructions(raw, folder),
            stacked=_stacked(raw),
        )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; raises CheckpointError where the file is missing or is not one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent} is not a model folder: it has no {path.name}") from None
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); download it again") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a JSON {type(content).__name__}, but an object was expected")
    return content


@contextmanager
def parsing(source: Path) -> Iterator[None]:
    """Turn the error of a setting that is missing or of an unexpected type into a CheckpointError that names the file."""
    try:
        yield
    except KeyError as error:
        message = f"{source} lacks {error.args[0]!r}: is this a jina-embeddings-v3 model?"
        raise CheckpointError(message) from error
    except (TypeError, AttributeError) as error:
        raise CheckpointError(f"{source} has a value of an unexpected type ({error})") from error


def _rope_theta(raw: dict[str, Any], folder: Path) -> float:
    rope = raw.get("rope_parameters") or {}
    if rope.get("rope_type", "default") != "default" or rope.get("partial_rotary_factor", 1) != 1:
        raise CheckpointError(f"{folder / 'config.json'}: rope_parameters are {rope}, but taskvec implements plain RoPE only")
    for theta in (rope.get("rope_theta"), raw.get("rope_theta"), raw.get("rotary_emb_base"), raw.get("default_theta")):
        if theta is not None:
            return float(theta)
    raise CheckpointError(f"{folder / 'config.json'} states no RoPE base (rope_parameters.rope_theta or rotary_emb_base)")


def _instructions(raw: dict[str, Any], folder: Path) -> dict[Task, str]:
    """The checkpoint's own instructions where it states them, else the published table in Task."""
    stated = raw.get("task_instructions")
    prompts = folder / "config_sentence_transformers.json"
    if stated is None and prompts.is_file():
        stated = read_json(prompts).get("prompts")
    stated = {name: "" if text is None else text for name, text in (stated or {}).items()}
    for name, text in stated.items():
        if not isinstance(text, str):
            raise TypeError(f"the instruction of {name} is {text!r}")
    return {task: stated.get(task.value, stated.get(task.adapter, task.instruction)) for task in Task}


def _stacked(raw: dict[str, Any]) -> StackedAdapters | None:
    if not raw.get("lora_adaptations"):
        return None
    rank = int(raw["lora_rank"])
    return StackedAdapters(names=tuple(raw["lora_adaptations"]), rank=rank, scale=float(raw["lora_alpha"]) / rank)
