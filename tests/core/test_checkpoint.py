"""Whatever is wrong with a model folder is one clear error that names the part."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from support.checkpoints import random_weights, write_original
from support.reference import TEXTS, assert_close
from taskvec import CheckpointError, Encoder, Task

Edit = Callable[[dict[str, torch.Tensor]], Any]


def edit_tensors(path: Path, edit: Edit) -> None:
    tensors = load_file(path)
    edit(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def edit_json(path: Path, **values: object) -> None:
    content = json.loads(path.read_text()) | values
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not ...}))


@pytest.fixture
def copy(tmp_path: Path, native: Path) -> Path:
    return shutil.copytree(native, tmp_path / "copy")


@pytest.fixture
def copy_original(tmp_path: Path, original: Path) -> Path:
    return shutil.copytree(original, tmp_path / "original")


def fails(folder: Path, *words: str) -> None:
    """Loading raises CheckpointError with all the words in its message."""
    with pytest.raises(CheckpointError) as caught:
        Encoder.from_pretrained(folder, dtype="float32")
    for word in words:
        assert word in str(caught.value), str(caught.value)


BASE = "layers.1.mlp.fc1.weight"


def test_missing_tensor(copy: Path) -> None:
    edit_tensors(copy / "model.safetensors", lambda tensors: tensors.pop(BASE))
    fails(copy, "lacks the tensor layers.1.mlp.fc1.weight")


def test_left_over_tensor(copy: Path) -> None:
    edit_tensors(copy / "model.safetensors", lambda t: t.update({"layers.7.mlp.fc1.weight": torch.zeros(2)}))
    fails(copy, "layers.7.mlp.fc1.weight", "not part of")


def test_tensor_of_another_shape(copy: Path) -> None:
    edit_tensors(copy / "model.safetensors", lambda t: t.update({BASE: torch.zeros(3, 64)}))
    fails(copy, BASE, "(3, 64)", "(128, 64)")


def test_fused_rows_that_do_not_split(copy_original: Path) -> None:
    name = "roberta.encoder.layers.0.mixer.Wqkv.bias"
    edit_tensors(copy_original / "model.safetensors", lambda t: t.update({name: torch.zeros(191)}))
    fails(copy_original, "Wqkv.bias", "191")


def test_the_same_tensor_twice(copy: Path) -> None:
    edit_tensors(copy / "model.safetensors", lambda t: t.update({"roberta." + BASE: t[BASE].clone()}))
    fails(copy, BASE, "same tensor")


def adapter(copy: Path) -> Path:
    return copy / "separation" / "adapter_model.safetensors"


@pytest.mark.parametrize("name", ["layers.0.self_attn.k_proj.lora_B.weight", "embeddings.word_embeddings.lora_embedding_A"])
def test_missing_adapter_key(copy: Path, name: str) -> None:
    edit_tensors(adapter(copy), lambda t: t.pop("base_model.model." + name))
    fails(copy, "separation", "lacks the adapter tensor", name.split(".lora", maxsplit=1)[0])


def test_left_over_adapter_key(copy: Path) -> None:
    name = "base_model.model.layers.0.post_mlp_layernorm.lora_A.weight"
    edit_tensors(adapter(copy), lambda t: t.update({name: torch.zeros(4, 64)}))
    fails(copy, name, "fits no adapted module")


def test_adapter_of_another_rank(copy: Path) -> None:
    edit_json(copy / "separation" / "adapter_config.json", r=8)
    fails(copy, "rank 8", "(4, 64)")


@pytest.mark.parametrize(
    "setting",
    [
        {"use_dora": True},
        {"modules_to_save": ["fc1"]},
        {"peft_type": "IA3"},
        {"bias": "all"},
        {"init_lora_weights": "pissa"},
        {"some_future_option": {"on": True}},
    ],
)
def test_adapters_that_are_not_plain_lora(copy: Path, setting: dict[str, object]) -> None:
    edit_json(copy / "separation" / "adapter_config.json", **setting)
    fails(copy, "separation", "plain LoRA")


@pytest.mark.parametrize("setting", [{"r": None}, {"target_modules": None}, {"lora_alpha": ...}])
def test_malformed_adapter_settings(copy: Path, setting: dict[str, object]) -> None:
    edit_json(copy / "separation" / "adapter_config.json", **setting)
    fails(copy, "separation/adapter_config.json")


def test_patterns_that_match_no_module(copy: Path) -> None:
    edit_json(copy / "separation" / "adapter_config.json", alpha_pattern={"fc3": 8})
    fails(copy, "'fc3' matches no adapted module")


@pytest.mark.parametrize("names", [["retrieval.query"], None], ids=["list", "null"])
def test_a_native_folder_may_still_name_stacked_adapters(copy: Path, encoder: Encoder, names: list[str] | None) -> None:
    """transformers keeps unknown keys of config.json: the tensors decide which layout it is."""
    edit_json(copy / "config.json", lora_adaptations=names, lora_rank=4, lora_alpha=1, emb_pooler="mean")
    assert_close(Encoder.from_pretrained(copy, dtype="float32").encode(TEXTS[:3]), encoder.encode(TEXTS[:3]))


def test_instructions_of_another_type(copy: Path) -> None:
    prompts = copy / "config_sentence_transformers.json"
    edit_json(prompts, prompts={"retrieval.query": None})
    encoder = Encoder.from_pretrained(copy, dtype="float32")
    assert_close(encoder.encode_queries("bread"), encoder.encode_queries("bread", instruction=""))
    edit_json(prompts, prompts={"retrieval.query": 3})
    fails(copy, "instruction of retrieval.query is 3")
    edit_json(prompts, prompts=["Represent"])
    fails(copy, "unexpected type")


def test_a_folder_without_adapters_warns(copy: Path, caplog: pytest.LogCaptureFixture) -> None:
    for task in Task:
        shutil.rmtree(copy / task.adapter)
    encoder = Encoder.from_pretrained(copy, dtype="float32")
    assert "has no adapter for retrieval.query, retrieval.passage, separation" in caplog.text
    assert encoder.encode("a", task=None).shape == (64,)


def test_missing_stacked_adapter(copy_original: Path) -> None:
    name = "roberta.encoder.layers.0.mlp.fc2.parametrizations.weight.0.lora_A"
    edit_tensors(copy_original / "model.safetensors", lambda t: t.pop(name))
    fails(copy_original, "lacks the adapter tensor layers.0.mlp.fc2.lora_A")


def test_stack_of_another_height(copy_original: Path) -> None:
    edit_json(copy_original / "config.json", lora_adaptations=["retrieval.query", "separation"])
    fails(copy_original, "stacks 5 adapters", "names 2")


def test_adapters_that_the_config_does_not_mention(copy_original: Path) -> None:
    edit_json(copy_original / "config.json", lora_adaptations=...)
    fails(copy_original, "lora_A", "lists no lora_adaptations")


CONFIGS = [
    ({"hidden_act": "relu"}, ["hidden_act", "relu", "gelu"]),
    ({"num_attention_heads": 5}, ["5 heads"]),
    ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1.0}}, ["yarn", "plain RoPE"]),
    ({"rope_parameters": ...}, ["no RoPE base"]),
    ({"hidden_size": ...}, ["lacks 'hidden_size'"]),
    ({"rope_scaling": {"type": "linear", "factor": 4}}, ["rope_scaling", "linear"]),
    ({"partial_rotary_factor": 0.5}, ["partial_rotary_factor", "0.5"]),
    ({"emb_pooler": "cls"}, ["emb_pooler", "cls"]),
    ({"max_position_embeddings": None}, ["config.json", "unexpected type"]),
    ({"vocab_size": 100}, ["word_embeddings", "(512, 64)", "(100, 64)"]),
]


@pytest.mark.parametrize(("values", "words"), CONFIGS, ids=lambda value: next(iter(value), ""))
def test_configs_the_forward_does_not_implement(copy: Path, values: dict[str, object], words: list[str]) -> None:
    edit_json(copy / "config.json", **values)
    fails(copy, *words)


def test_absolute_positions_are_refused_unless_the_architecture_has_none(copy: Path, copy_original: Path) -> None:
    edit_json(copy_original / "config.json", position_embedding_type="absolute")
    fails(copy_original, "position_embedding_type", "absolute", "rotary")
    edit_json(copy / "config.json", position_embedding_type="absolute")
    assert Encoder.from_pretrained(copy, dtype="float32").dimensions == 64


def test_files_missing_damaged_or_cut_short(copy: Path) -> None:
    (copy / "tokenizer.json").write_text("{")
    fails(copy, "tokenizer.json", "damaged")
    (copy / "tokenizer.json").unlink()
    fails(copy, "no tokenizer.json")
    whole = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    fails(copy, "model.safetensors", "damaged or incomplete")
    (copy / "model.safetensors").unlink()
    fails(copy, "model.safetensors is missing")
    (copy / "config.json").write_text("[]")
    fails(copy, "config.json", "list")
    (copy / "config.json").write_text("{,")
    fails(copy, "config.json", "not valid JSON")
    (copy / "config.json").unlink()
    fails(copy, "not a model folder")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_files_that_may_not_be_read(copy: Path, name: str) -> None:
    (copy / name).chmod(0)
    with pytest.raises(PermissionError, match=f"{name} cannot be read: give this user permission"):
        Encoder.from_pretrained(copy)


def test_pickles_are_refused(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    fails(copy, "pytorch_model.bin", "pickle", "safetensors")


def test_pickled_adapters_are_refused(copy: Path) -> None:
    adapter(copy).rename(adapter(copy).with_suffix(".bin"))
    fails(copy, "adapter_model.bin", "pickle")


def test_tokenizer_of_another_model(copy: Path) -> None:
    content = json.loads((copy / "tokenizer.json").read_text())
    content["model"]["vocab"].append(["one too many", -9.0])
    (copy / "tokenizer.json").write_text(json.dumps(content))
    fails(copy, "tokenizer.json has 513 tokens", "only 512")


def test_tokenizer_with_another_frame(copy: Path) -> None:
    content = json.loads((copy / "tokenizer.json").read_text())
    content["post_processor"] = None
    (copy / "tokenizer.json").write_text(json.dumps(content))
    fails(copy, "0 special tokens", "two were expected", "own tokenizer.json")


def test_tokenizer_whose_words_begin_at_the_space_before(copy: Path) -> None:
    content = json.loads((copy / "tokenizer.json").read_text())
    content["pre_tokenizer"] = content["pre_tokenizer"]["pretokenizers"][1]
    (copy / "tokenizer.json").write_text(json.dumps(content))
    fails(copy, "counts a space to the word after it")


def test_sharded_weights(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[:10], "model-00002-of-00002.safetensors": names[10:]}
    for shard, keys in shards.items():
        save_file({key: tensors[key] for key in keys}, copy / shard)
    table = {key: shard for shard, keys in shards.items() for key in keys}
    (copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))
    expected = Encoder.from_pretrained(copy, dtype="float32").encode(TEXTS[:3])
    (copy / "model.safetensors").unlink()
    assert_close(Encoder.from_pretrained(copy, dtype="float32").encode(TEXTS[:3]), expected)
    (copy / "model-00002-of-00002.safetensors").unlink()
    fails(copy, "model-00002-of-00002.safetensors is missing")


def test_tasks_are_those_with_an_adapter(copy: Path) -> None:
    shutil.rmtree(copy / "separation")
    encoder = Encoder.from_pretrained(copy, dtype="float32")
    assert encoder.tasks == tuple(task for task in Task if task is not Task.SEPARATION)
    with pytest.raises(ValueError, match=r"no adapter for separation: it has retrieval.query, .*task=None"):
        encoder.encode("a", task="separation")


def test_stacks_may_hold_the_tasks_in_another_order(tmp_path: Path, encoder: Encoder) -> None:
    weights = random_weights()
    for name, (a, b) in weights.lora.items():
        weights.lora[name] = a.flip(0), b.flip(0)
    folder = write_original(tmp_path / "reversed", weights)
    edit_json(folder / "config.json", lora_adaptations=[task.value for task in reversed(Task)])
    other = Encoder.from_pretrained(folder, dtype="float32")
    for task in Task:
        assert_close(other.encode(TEXTS[:3], task=task), encoder.encode(TEXTS[:3], task=task))


def test_files_that_change_under_a_loaded_encoder(copy: Path) -> None:
    encoder = Encoder.from_pretrained(copy, dtype="float32")
    encoder.encode("a", task="separation")
    edit_tensors(copy / "model.safetensors", lambda t: t[BASE].add_(1))
    encoder.encode("a", task="separation")
    with pytest.raises(RuntimeError, match="changed on disk"):
        encoder.encode("a", task="classification")
