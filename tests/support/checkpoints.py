"""Random jina-embeddings-v3 checkpoints in both published layouts, written with safetensors and tokenizers alone.

The weights are scaled so that texts and tasks differ clearly (cosine < .9): with transformers' own initialization every vector
is nearly the same and a wrong adapter would go unnoticed.
"""

import json
import math
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor

from taskvec import Task

CORPUS = """The northern lights are caused by charged particles that hit the upper air.
Bread rises because yeast turns sugar into gas. She said: "Well-known, isn't it?" (It is.)
Die Straße führt über die Brücke zum Fluß. L'été est déjà là, n'est-ce pas ?
北极光是由带电粒子撞击高层大气引起的。パンは酵母で膨らむ。한국어 문장도 있습니다.
שלום עולם, זה משפט בעברית. مرحبا بالعالم هذه جملة عربية. Привет, это русский текст.
0 1 2 3 4 5 6 7 8 9 10 11 12 1999 2024 def f(x): return x + 1"""


@dataclass(frozen=True)
class Shape:
    """Sizes of a random checkpoint; rank and alpha of its adapters."""

    width: int = 64
    layers: int = 2
    heads: int = 4
    inner: int = 128
    positions: int = 8194
    vocab: int = 512
    types: int = 1
    rank: int = 4
    alpha: float = 1.0
    theta: float = 20000.0

    def modules(self) -> dict[str, tuple[int, int]]:
        """Original names of every adapted module, with the shape of its weight."""
        width, inner = self.width, self.inner
        layer = {"mixer.Wqkv": (3 * width, width), "mixer.out_proj": (width, width)}
        layer |= {"mlp.fc1": (inner, width), "mlp.fc2": (width, inner)}
        embeddings = {"word_embeddings": (self.vocab, width), "token_type_embeddings": (self.types, width)}
        return {
            **{f"embeddings.{name}": shape for name, shape in embeddings.items()},
            **{f"encoder.layers.{i}.{name}": shape for i in range(self.layers) for name, shape in layer.items()},
            "pooler.dense": (width, width),
        }


@dataclass(frozen=True)
class Weights:
    """Tensors under original names: modules and norms, and the LoRA factors (A, B) of all five tasks stacked first."""

    shape: Shape
    base: dict[str, Tensor]
    lora: dict[str, tuple[Tensor, Tensor]]


def random_weights(shape: Shape = Shape(), seed: int = 0, adapter_scale: float = 0.4) -> Weights:
    """Weights whose activations keep unit scale and whose adapters change every module by 0.4 of its size."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*size: int, std: float) -> Tensor:
        return torch.randn(*size, generator=generator) * std

    base: dict[str, Tensor] = {}
    lora: dict[str, tuple[Tensor, Tensor]] = {}
    for name, (rows, columns) in shape.modules().items():
        embedding = name.startswith("embeddings.")
        # Token types are the same for every text, words tell texts apart.
        weight_std = columns**-0.5 if not embedding else 0.1 if "type" in name else 1.0
        base[f"{name}.weight"] = normal(rows, columns, std=weight_std)
        if not embedding:
            base[f"{name}.bias"] = normal(rows, std=0.05)
        a, b = ((rows, shape.rank), (shape.rank, columns)) if embedding else ((shape.rank, columns), (rows, shape.rank))
        # scale * B @ A has standard deviation scale * sqrt(rank) * std(A) * std(B): make that the weight's own.
        std = (weight_std * shape.rank**0.5 / shape.alpha * adapter_scale) ** 0.5
        lora[name] = normal(5, *a, std=std), normal(5, *b, std=std)
    norms = ["emb_ln", *(f"encoder.layers.{i}.norm{n}" for i in range(shape.layers) for n in (1, 2))]
    for norm in norms:
        base[f"{norm}.weight"] = 1 + normal(shape.width, std=0.1)
        base[f"{norm}.bias"] = normal(shape.width, std=0.05)
    return Weights(shape, base, lora)


def write_original(folder: Path, weights: Weights, dtype: torch.dtype = torch.float32) -> Path:
    """The layout of jinaai/jina-embeddings-v3: one file, `roberta.` names, adapters stacked under parametrizations."""
    shape = weights.shape
    tensors = {}
    for name, tensor in weights.base.items():
        adapted = name.removesuffix(".weight") in weights.lora
        stored = name.replace(".weight", ".parametrizations.weight.original") if adapted else name
        tensors[f"roberta.{stored}"] = tensor
    for name, (a, b) in weights.lora.items():
        tensors[f"roberta.{name}.parametrizations.weight.0.lora_A"] = a
        tensors[f"roberta.{name}.parametrizations.weight.0.lora_B"] = b
    config = _sizes(shape) | {
        "model_type": "xlm-roberta",
        "position_embedding_type": "rotary",
        "rotary_emb_base": shape.theta,
        "lora_adaptations": [task.value for task in Task],
        "lora_rank": shape.rank,
        "lora_alpha": shape.alpha,
        "task_instructions": {task.value: task.instruction for task in Task},
    }
    return _write(folder, tensors, config, dtype)


def write_native(
    folder: Path, weights: Weights, dtype: torch.dtype = torch.float32, rename: Callable[[str], str] = lambda name: name
) -> Path:
    """The layout of jinaai/jina-embeddings-v3-hf: native names and a PEFT adapter folder for each task."""
    shape = weights.shape
    tensors = {rename(part): tensor for name, tensor in weights.base.items() for part, tensor in split(name, tensor)}
    config = _sizes(shape) | {
        "model_type": "jina_embeddings_v3",
        "architectures": ["JinaEmbeddingsV3Model"],
        "rope_parameters": {"rope_theta": shape.theta, "rope_type": "default"},
    }
    _write(folder, tensors, config, dtype)
    prompts = {task.value: task.instruction for task in Task}
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    for index, task in enumerate(Task):
        write_peft(folder / task.adapter, weights, index, dtype)
    return folder


def write_peft(folder: Path, weights: Weights, index: int, dtype: torch.dtype = torch.float32) -> None:
    """One task's adapter as PEFT saves it: q, k and v apart, the factors of embeddings transposed."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, (a, b) in weights.lora.items():
        prefix = "base_model.model."
        if name.startswith("embeddings."):
            tensors[f"{prefix}{name}.lora_embedding_A"] = a[index].T
            tensors[f"{prefix}{name}.lora_embedding_B"] = b[index].T
            continue
        for part, left in split(name, b[index]):
            tensors[f"{prefix}{part}.lora_A.weight"] = a[index]
            tensors[f"{prefix}{part}.lora_B.weight"] = left
    _save(folder / "adapter_model.safetensors", tensors, dtype)
    targets = ["word_embeddings", "token_type_embeddings", "q_proj", "k_proj", "v_proj", "o_proj", "fc1", "fc2", "dense"]
    settings = {"peft_type": "LORA", "r": weights.shape.rank, "lora_alpha": weights.shape.alpha, "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(settings | {"target_modules": targets}))


def split(name: str, tensor: Tensor) -> list[tuple[str, Tensor]]:
    """An original name under its native ones, with the rows that belong to each (Wqkv in thirds)."""
    table = {"emb_ln": "embeddings.LayerNorm", "encoder.layers": "layers", "mixer.out_proj": "self_attn.o_proj"}
    table |= {"norm1": "post_attention_layernorm", "norm2": "post_mlp_layernorm"}
    for original, native in table.items():
        name = name.replace(original, native)
    if "mixer.Wqkv" not in name:
        return [(name, tensor)]
    parts = zip("qkv", tensor.chunk(3), strict=True)
    return [(name.replace("mixer.Wqkv", f"self_attn.{part}_proj"), rows) for part, rows in parts]


@cache
def make_tokenizer(vocab: int = 512) -> Tokenizer:
    """A small Unigram tokenizer built like XLM-RoBERTa's: NFKC, whitespace split, metaspace, `<s>` text `</s>`.

    The vocabulary is counted, not trained (the library's trainer gives another one each time): every character of the corpus,
    then its most frequent word pieces up to 6 characters.
    """
    lines = [*CORPUS.splitlines(), *(task.instruction for task in Task)]
    words = [f"▁{word}" for line in lines for word in unicodedata.normalize("NFKC", line).split()]
    pieces = Counter(word[i : i + n] for word in words for n in range(1, 7) for i in range(len(word) - n + 1))
    ranked = sorted(pieces, key=lambda piece: (len(piece) > 1, -pieces[piece] * len(piece), piece))
    scored = [(piece, math.log(pieces[piece] / len(words)) - 1) for piece in ranked[: vocab - 4]]
    special = [(piece, 0.0) for piece in ("<s>", "<pad>", "</s>", "<unk>")]
    tokenizer = Tokenizer(models.Unigram(special + scored, unk_id=3))
    tokenizer.add_special_tokens([piece for piece, _ in special])
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def _sizes(shape: Shape) -> dict[str, object]:
    return {
        "hidden_act": "gelu",
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.inner,
        "layer_norm_eps": 1e-5,
        "max_position_embeddings": shape.positions,
        "vocab_size": shape.vocab,
        "type_vocab_size": shape.types,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
    }


def _write(folder: Path, tensors: dict[str, Tensor], config: dict[str, object], dtype: torch.dtype) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    _save(folder / "model.safetensors", tensors, dtype)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    make_tokenizer().save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": config["max_position_embeddings"]}
    names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | names))
    return folder


def _save(path: Path, tensors: dict[str, Tensor], dtype: torch.dtype) -> None:
    save_file({name: tensor.to(dtype, copy=True).contiguous() for name, tensor in tensors.items()}, path, {"format": "pt"})
