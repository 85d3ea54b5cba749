"""What every vector is compared with: transformers' JinaEmbeddingsV3Model + PEFT, one text at a time, float32."""

import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from support.checkpoints import CORPUS
from taskvec import Encoder, Task

TEXTS = [
    "The northern lights are caused by charged particles.",
    "bread",
    "北极光是由带电粒子撞击高层大气引起的。",
    "مرحبا بالعالم هذه جملة عربية",
    "Unknown: 🎉🎉 ☃ and a tail",
    "a",
    "",
    "She said: well-known, isn't it? " * 20,
]

WORDS = CORPUS.split()


def words(count: int, start: int = 0) -> str:
    """A text of `count` words."""
    return " ".join(WORDS[(start + i) % len(WORDS)] for i in range(count))


class Reference:
    """The reference model of a native-layout folder."""

    def __init__(self, folder: Path) -> None:
        from peft import PeftModel
        from transformers import JinaEmbeddingsV3Model

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = JinaEmbeddingsV3Model.from_pretrained(folder, dtype=torch.float32)
            first, *others = Task
            self.model = PeftModel.from_pretrained(model, folder / first.adapter, adapter_name=first.adapter).eval()
            for task in others:
                self.model.load_adapter(folder / task.adapter, adapter_name=task.adapter)
            self.model.eval()
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    @torch.no_grad()
    def hidden(self, ids: Sequence[int], task: Task | None) -> torch.Tensor:
        """Last hidden states (n, width) of one sequence."""
        if task:
            self.model.set_adapter(task.adapter)
        batch = torch.tensor([list(ids)])
        with nullcontext() if task else self.model.disable_adapter():
            output = self.model(input_ids=batch, attention_mask=torch.ones_like(batch))
        states: torch.Tensor = output.last_hidden_state[0]
        return states

    def encode(
        self, texts: Sequence[str], task: Task | None, dimensions: int | None = None, limit: int = 8192
    ) -> NDArray[np.float32]:
        """Mean over all tokens, cut to dimensions, normalized: (n, dimensions)."""
        vectors = []
        for text in texts:
            ids = self.tokenizer.encode((task.instruction if task else "") + text).ids
            ids = ids if len(ids) <= limit else [*ids[: limit - 1], ids[-1]]
            mean = self.hidden(ids, task).mean(0)[:dimensions]
            vectors.append(torch.nn.functional.normalize(mean, dim=0).numpy())
        return np.stack(vectors)


def assert_close(actual: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    """float32 rounding: cosine at least 0.999999 and no value further than 2e-5."""
    assert actual.shape == expected.shape
    assert actual.dtype == np.float32
    assert cosines(actual, expected).min() >= 0.999999
    assert np.abs(actual - expected).max() <= 2e-5


def assert_faithful(encoder: Encoder, reference: Reference, texts: Sequence[str] = TEXTS) -> None:
    """Every task and the bare model, at full width and cut, equal the reference."""
    for task in [*Task, None]:
        for dimensions in (None, 7):
            actual = encoder.encode(texts, task=task, dimensions=dimensions)
            assert_close(actual, reference.encode(texts, task, dimensions, encoder.max_tokens))


def cosines(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosine of each pair of rows."""
    a, b = left.astype(np.float64), right.astype(np.float64)
    similarities: NDArray[np.float64] = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    return similarities
