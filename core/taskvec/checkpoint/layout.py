"""What a checkpoint's files and tensors are called: every stored name as the native one of transformers.

Knows both published layouts and the shapes the model calls for, reads no values. LoRA factors pass through under the native name
of their module.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from taskvec.checkpoint.config import ModelConfig, parsing, read_json
from taskvec.checkpoint.tensors import TensorFile, TensorRef
from taskvec.errors import CheckpointError

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


def weight_files(folder: Path, name: str = "model") -> list[Path]:
    """The safetensors files of a folder, sharded or not; raises CheckpointError if there are only pickles."""
    index = folder / f"{name}.safetensors.index.json"
    if index.is_file():
        with parsing(index):
            files = [folder / shard for shard in sorted(set(read_json(index)["weight_map"].values()))]
    else:
        files = [folder / f"{name}.safetensors"]
    missing = [file for file in files if not file.is_file()]
    pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in folder.glob(pattern))
    if missing and pickles:
        raise CheckpointError(
            f"{folder} stores its weights as pickles ({', '.join(pickles)}), which can run any code when they are loaded. "
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


def read_tensors(files: Iterable[Path]) -> dict[str, TensorRef]:
    """Every used tensor by native name, the fused query-key-value projection still as `qkv`."""
    found: dict[str, TensorRef] = {}
    for file in map(TensorFile.open, files):
        for key, shape in file.shapes.items():
            if not native_name(key).startswith(UNUSED):
                _add(found, native_name(key), TensorRef(file, key, shape))
    return found


def split_qkv(tensors: Mapping[str, TensorRef]) -> dict[str, TensorRef]:
    """The same tensors with `qkv` as query, key and value: its rows in thirds; an adapter's A serves all three."""
    found: dict[str, TensorRef] = {}
    for name, ref in tensors.items():
        if ".qkv." not in name:
            _add(found, name, ref)
            continue
        if ref.shape[0] % 3 and not name.endswith("lora_A"):
            raise CheckpointError(f"{ref} has {ref.shape[0]} rows, which do not split into query, key and value")
        thirds = (ref, ref, ref) if name.endswith("lora_A") else ref.thirds()
        for part, third in zip(QKV, thirds, strict=True):
            _add(found, name.replace(".qkv.", f".{part}."), third)
    return found


def _add(found: dict[str, TensorRef], name: str, ref: TensorRef) -> None:
    if name in found:
        raise CheckpointError(f"{ref} and {found[name]} are the same tensor, {name}")
    found[name] = ref


def modules(config: ModelConfig) -> dict[str, tuple[int, int]]:
    """Every module that can carry an adapter, with the shape of its weight."""
    width, inner = config.width, config.intermediate
    layer = {f"self_attn.{part}": (width, width) for part in (*QKV, "o_proj")}
    layer |= {"mlp.fc1": (inner, width), "mlp.fc2": (width, inner)}
    embeddings = {WORDS: (config.vocab_size, width), TOKEN_TYPES: (config.type_vocab_size, width)}
    return embeddings | {f"layers.{i}.{name}": shape for i in range(config.layers) for name, shape in layer.items()}


def shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor the model needs, by native name."""
    table: dict[str, tuple[int, ...]] = {}
    for module, shape in modules(config).items():
        table[f"{module}.weight"] = shape
        if not module.startswith("embeddings."):
            table[f"{module}.bias"] = shape[:1]
    norms = ["embeddings.LayerNorm"]
    norms += [f"layers.{i}.post_{part}_layernorm" for i in range(config.layers) for part in ("attention", "mlp")]
    return table | {f"{norm}.{part}": (config.width,) for norm in norms for part in ("weight", "bias")}
