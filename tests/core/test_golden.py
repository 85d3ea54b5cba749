"""Published values of the real weights (facts from transformers' and fastembed's own tests). Run: make soak.

Skipped with a reason where the weights cannot be loaded. TASKVEC_MODEL names another hub id or a folder.
"""

import os
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from support.inside import runners
from taskvec import Encoder, Task
from taskvec.names import DEFAULT_MODEL
from taskvec.packing import Batch, TokenSequence
from taskvec_integrations.cli.published_vectors import TEXTS, TOLERANCES, VECTORS

pytestmark = pytest.mark.hub

IDS = [0, 345, 232, 328, 740, 140, 1695, 69, 6078, 1588, 2]

# hidden[0, 1:4, 1:4] of transformers' integration test. It masks the first token out of attention but feeds it.
HIDDEN: dict[Task | None, list[list[float]]] = {
    None: [[-2.1561, 1.8075, -0.1943], [-2.0813, 1.9855, -0.2760], [-2.1181, 2.0043, -0.1322]],
    Task.RETRIEVAL_QUERY: [[-1.5202, 2.4074, -0.9706], [-1.5279, 2.4025, -1.1237], [-1.5252, 2.6143, -0.9416]],
    Task.RETRIEVAL_PASSAGE: [[-1.0778, 1.8124, -0.8223], [-1.3796, 1.8108, -0.9868], [-1.1073, 1.9459, -0.8104]],
    Task.SEPARATION: [[-2.3134, 1.9034, 0.1885], [-2.1804, 1.9923, 0.1184], [-2.2325, 2.0251, 0.2533]],
    Task.CLASSIFICATION: [[-1.9793, 2.2602, -0.17995], [-1.8780, 2.2660, -0.21822], [-1.9202, 2.4457, -0.00022832]],
    Task.TEXT_MATCHING: [[-1.6952, 1.8568, -0.2258], [-1.6239, 1.9056, -0.2681], [-1.5218, 1.8185, 0.0062]],
}


@pytest.fixture(scope="module")
def real() -> Iterator[Encoder]:
    model = os.environ.get("TASKVEC_MODEL", DEFAULT_MODEL)
    try:
        encoder = Encoder.from_pretrained(model, dtype="float32", device="cpu")
    except OSError as error:
        pytest.skip(f"the real weights cannot be loaded: {error}")
    with encoder:
        yield encoder


@pytest.mark.parametrize("task", VECTORS)
def test_vectors_of_fastembed(real: Encoder, task: Task) -> None:
    vectors = real.encode(list(TEXTS), task=task, instruction="")
    assert np.abs(vectors[:, :5] - np.array(VECTORS[task])).max() <= TOLERANCES[torch.float32]


@pytest.mark.parametrize("task", HIDDEN)
def test_hidden_states_of_transformers(real: Encoder, task: Task | None) -> None:
    """That test's mask hides token 0 as a key; here it is left out, and the others keep their positions 1 to 10."""
    runner = runners(real)[0]
    batch = Batch([TokenSequence.whole(np.array(IDS[1:]), 0)]).to(torch.device("cpu"))
    object.__setattr__(batch, "positions", batch.positions + 1)
    with torch.inference_mode():
        hidden = runner._transformer(runner._bodies.get(task), batch)
    assert (hidden[:3, 1:4] - torch.tensor(HIDDEN[task])).abs().max() <= 1e-4
