"""Vectors equal transformers + PEFT on the same random weights, for every task, layout, naming and adapter setting."""

import json
import math
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from support.checkpoints import Shape, random_weights, write_native, write_original
from support.reference import TEXTS, Reference, assert_close, assert_faithful, cosines
from taskvec import Encoder, Task

SHAPES = [
    pytest.param(Shape(), 0, id="base"),
    pytest.param(Shape(width=48, layers=3, heads=6, inner=96, rank=2, alpha=4), 1, id="three-layers"),
    pytest.param(Shape(width=128, layers=1, heads=2, inner=200, types=2, rank=8, alpha=16, theta=500), 2, id="wide-heads"),
]


@pytest.mark.parametrize(("shape", "seed"), SHAPES)
def test_both_layouts_equal_transformers_and_peft(tmp_path: Path, shape: Shape, seed: int) -> None:
    weights = random_weights(shape, seed)
    native = write_native(tmp_path / "native", weights)
    original = write_original(tmp_path / "original", weights)
    reference = Reference(native)
    assert_faithful(Encoder.from_pretrained(native, dtype="float32"), reference)
    assert_faithful(Encoder.from_pretrained(original, dtype="float32"), reference)
    assert_faithful(Encoder.from_pretrained(native, dtype="float32", merge_adapters=False), reference)


def test_tasks_and_texts_differ_enough_for_these_tests_to_mean_something(encoder: Encoder) -> None:
    short_texts = TEXTS[:4]
    by_task = np.stack([encoder.encode(short_texts, task=task, instruction="") for task in [*Task, None]])
    for i in range(len(by_task)):
        for j in range(i):
            assert cosines(by_task[i], by_task[j]).max() < 0.9
    similar = by_task[0] @ by_task[0].T - 2 * np.eye(len(short_texts))
    assert similar.max() < 0.9


def save_as_transformers_does(native: Path, folder: Path) -> Path:
    """The base model through transformers' save_pretrained, which writes the original names; adapters as they are."""
    from transformers import JinaEmbeddingsV3Model

    shutil.copytree(native, folder)
    (folder / "model.safetensors").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        JinaEmbeddingsV3Model.from_pretrained(native).save_pretrained(folder)
    return folder


def test_a_checkpoint_saved_by_transformers_loads(tmp_path: Path, native: Path) -> None:
    folder = save_as_transformers_does(native, tmp_path / "saved")
    assert_faithful(Encoder.from_pretrained(folder, dtype="float32"), Reference(native))


@pytest.mark.parametrize("prefix", ["roberta.", "model.", "base_model.model.roberta."])
def test_native_names_load_behind_any_prefix(tmp_path: Path, native: Path, prefix: str) -> None:
    folder = write_native(tmp_path / "prefixed", random_weights(), rename=lambda name: prefix + name)
    texts = TEXTS[:3]
    expected = Encoder.from_pretrained(native, dtype="float32").encode(texts)
    assert_close(Encoder.from_pretrained(folder, dtype="float32").encode(texts), expected)


PEFT_SETTINGS = [
    pytest.param({"use_rslora": True}, id="rslora"),
    pytest.param({"rank_pattern": {"fc1": 3, "layers.0.self_attn.q_proj": 2}}, id="rank-pattern"),
    pytest.param({"alpha_pattern": {"o_proj": 9, "word_embeddings": 0.5}}, id="alpha-pattern"),
    pytest.param({"init_lora_weights": "gaussian"}, id="gaussian"),
    pytest.param({"target_modules": ["q_proj", "fc2"]}, id="some-modules"),
    pytest.param({"target_modules": r".*layers\.1\.(self_attn\.[qk]_proj|mlp\.fc1)"}, id="regular-expression"),
]


@pytest.mark.parametrize("settings", PEFT_SETTINGS)
def test_adapters_saved_by_peft_itself(tmp_path: Path, native: Path, settings: dict[str, object]) -> None:
    """PEFT writes the adapter, taskvec reads it: ranks, scales and targets follow PEFT's own rules."""
    from peft import LoraConfig, get_peft_model
    from transformers import JinaEmbeddingsV3Model

    folder = shutil.copytree(native, tmp_path / "peft")
    modules = ["word_embeddings", "token_type_embeddings", "q_proj", "k_proj", "v_proj", "o_proj", "fc1", "fc2"]
    config = LoraConfig(**({"r": 4, "lora_alpha": 2, "target_modules": modules} | settings))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = get_peft_model(JinaEmbeddingsV3Model.from_pretrained(native), config, adapter_name="separation")
        torch.manual_seed(0)
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=0.2)
        shutil.rmtree(folder / "separation")
        model.save_pretrained(folder)
    encoder = Encoder.from_pretrained(folder, dtype="float32")
    assert_close(encoder.encode(TEXTS, task="separation"), Reference(folder).encode(TEXTS, Task.SEPARATION))


def test_an_adapter_on_the_fused_projection(tmp_path: Path, native: Path) -> None:
    """Saved by hand on Wqkv instead of q, k and v: the rows of its B belong to them in thirds."""
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(native, tmp_path / "fused")
    for task in Task:
        path = folder / task.adapter / "adapter_model.safetensors"
        tensors = load_file(path)
        for layer in range(2):
            own = f"base_model.model.layers.{layer}.self_attn"
            fused = f"base_model.model.encoder.layers.{layer}.mixer.Wqkv"
            rights = [tensors.pop(f"{own}.{part}_proj.lora_A.weight") for part in "qkv"]
            lefts = [tensors.pop(f"{own}.{part}_proj.lora_B.weight") for part in "qkv"]
            tensors[f"{fused}.lora_B.weight"] = torch.cat(lefts)
            tensors[f"{fused}.lora_A.weight"] = rights[0]
        save_file(tensors, path)
        settings = json.loads((path.parent / "adapter_config.json").read_text())
        names = ["word_embeddings", "token_type_embeddings", "Wqkv", "out_proj", "fc1", "fc2", "dense"]
        patterns = {"rank_pattern": {"Wqkv": 4}, "alpha_pattern": {"mixer.Wqkv": 1.0, "encoder.layers.0.mlp.fc1": 1.0}}
        (path.parent / "adapter_config.json").write_text(json.dumps(settings | patterns | {"target_modules": names}))
    assert_faithful(Encoder.from_pretrained(folder, dtype="float32"), Reference(native))


def test_instructions_come_from_the_checkpoint(tmp_path: Path, native: Path, original: Path) -> None:
    """Both layouts may state other instructions than the published table, and theirs are used."""
    stated = {task.value: f"about {task.value}: " for task in Task}
    other_native = shutil.copytree(native, tmp_path / "native")
    (other_native / "config_sentence_transformers.json").write_text(json.dumps({"prompts": stated}))
    other_original = shutil.copytree(original, tmp_path / "original")
    config = json.loads((original / "config.json").read_text()) | {"task_instructions": stated}
    (other_original / "config.json").write_text(json.dumps(config))
    plain = Encoder.from_pretrained(native, dtype="float32")
    for folder in (other_native, other_original):
        encoder = Encoder.from_pretrained(folder, dtype="float32")
        for task in Task:
            expected = plain.encode("bread", task=task, instruction=f"about {task.value}: ")
            assert_close(encoder.encode("bread", task=task), expected)


def test_bfloat16_stays_close(native: Path, encoder: Encoder) -> None:
    half = Encoder.from_pretrained(native, dtype="bfloat16")
    texts = [text for text in TEXTS if text]
    for task in [*Task, None]:
        vectors = half.encode(texts, task=task)
        alone = np.stack([half.encode(text, task=task) for text in texts])
        assert vectors.dtype == np.float32
        assert cosines(vectors, alone).min() >= 0.9999
        assert cosines(vectors, encoder.encode(texts, task=task)).min() >= 0.999


def test_weights_stored_in_bfloat16_are_merged_in_float32(tmp_path: Path) -> None:
    folder = write_native(tmp_path / "half", random_weights(), torch.bfloat16)
    assert_faithful(Encoder.from_pretrained(folder, dtype="float32"), Reference(folder), TEXTS[:3])


def test_dimensions_are_cut_before_normalising(encoder: Encoder) -> None:
    raw = encoder.encode(TEXTS, normalize=False)
    for dimensions in range(1, encoder.dimensions + 1):
        cut = raw[:, :dimensions]
        expected = cut / np.linalg.norm(cut, axis=1, keepdims=True)
        assert_close(encoder.encode(TEXTS, dimensions=dimensions), expected)
    assert math.isclose(np.linalg.norm(encoder.encode("bread", dimensions=3)), 1, abs_tol=1e-6)
