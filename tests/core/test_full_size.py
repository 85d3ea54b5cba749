"""The published sizes, 24 layers and 1024 wide, random weights stored in bfloat16 as the real ones are. Run by `make soak`."""

from pathlib import Path

import numpy as np
import pytest

from support.checkpoints import Shape, random_weights, write_native, write_original
from support.memory import loading_bytes
from support.reference import Reference, assert_close, cosines, words
from taskvec import Encoder, Task
from taskvec.checkpoint.config import ModelConfig
from taskvec.checkpoint.layout import modules

pytestmark = pytest.mark.soak

FULL = Shape(width=1024, layers=24, heads=16, inner=4096, vocab=250_002)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    import torch

    weights, folder = random_weights(FULL), tmp_path_factory.mktemp("full")
    return {
        "native": write_native(folder / "native", weights, torch.bfloat16),
        "original": write_original(folder / "original", weights, torch.bfloat16),
    }


@pytest.fixture(scope="module")
def reference(full: dict[str, Path]) -> Reference:
    return Reference(full["native"])


@pytest.mark.parametrize("layout", ["native", "original"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_peak_memory(full: dict[str, Path], layout: str, dtype: str) -> None:
    values = sum(rows * columns for rows, columns in modules(ModelConfig.read(full[layout])).values())
    ratio = loading_bytes(full[layout], dtype, Task.RETRIEVAL_QUERY) / values / (2 if dtype == "bfloat16" else 4)
    print(f"{layout}, {dtype}: peak {ratio:.2f} times the weights")
    assert ratio < 1.3


@pytest.mark.parametrize("task", [*Task, None])
def test_full_size_equals_transformers_and_peft(full: dict[str, Path], reference: Reference, task: Task | None) -> None:
    texts = ["", "bread", words(30), words(200)]
    expected = reference.encode(texts, task)
    for folder in full.values():
        with Encoder.from_pretrained(folder, dtype="float32") as encoder:
            assert_close(encoder.encode(texts, task=task), expected)
    with Encoder.from_pretrained(full["original"], dtype="bfloat16") as half:
        together = half.encode(texts, task=task)
        assert cosines(together, expected).min() >= 0.999
        assert cosines(together, np.stack([half.encode(text, task=task) for text in texts])).min() >= 0.9999
