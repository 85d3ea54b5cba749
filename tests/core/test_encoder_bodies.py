"""The weights of each task: how many are kept, what they share, several devices, and what happens where memory is short."""

from pathlib import Path

import pytest
import torch

from support.inside import bias, bodies, runners, weight
from support.reference import assert_close, words
from taskvec import Encoder, Task, adapters, shared_encoder
from taskvec.model import Body
from taskvec.packing import Batch
from taskvec.pooling import Vectors
from taskvec.runner import Runner
from taskvec.tasks import DOCUMENT_TASK, QUERY_TASK


def test_bodies_are_kept_up_to_the_bound(native: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Task | None] = []
    right = adapters.BodyBuilder.build

    def build(self: adapters.BodyBuilder, task: Task | None) -> Body:
        built.append(task)
        return right(self, task)

    monkeypatch.setattr(adapters.BodyBuilder, "build", build)
    unbounded = Encoder.from_pretrained(native, dtype="float32")
    for _ in range(3):
        unbounded.encode_queries("a")
        unbounded.encode_documents("a")
    assert built == [QUERY_TASK, DOCUMENT_TASK]
    built.clear()
    two = Encoder.from_pretrained(native, dtype="float32", max_bodies=2)
    for task in (None, "separation", None, "classification", None, "separation"):
        two.encode("a", task=task)
    assert built == [None, Task.SEPARATION, Task.CLASSIFICATION, Task.SEPARATION]


def test_word_table_and_norms_are_shared_between_bodies(encoder: Encoder) -> None:
    one, other = bodies(encoder).get(Task.SEPARATION), bodies(encoder).get(Task.CLASSIFICATION)
    assert one.embeddings.words is other.embeddings.words
    assert bias(one.layers[0].fc1) is bias(other.layers[0].fc1)
    assert weight(one.layers[0].fc1) is not weight(other.layers[0].fc1)


def test_unmerged_bodies_share_all_weights(native: Path) -> None:
    encoder = Encoder.from_pretrained(native, dtype="float32", merge_adapters=False)
    one, other = bodies(encoder).get(Task.SEPARATION), bodies(encoder).get(None)
    assert weight(one.layers[1].qkv) is weight(other.layers[1].qkv)


def test_out_of_memory_halves_the_batch(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    right = Runner._forward

    def forward(self: Runner, batch: Batch, body: Body, dimensions: int) -> Vectors:
        sizes.append(sum(batch.lengths))
        if sizes[-1] > 60:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return right(self, batch, body, dimensions)

    texts = [words(n) for n in (3, 9, 5, 7, 2, 8)]
    expected = encoder.encode(texts)
    monkeypatch.setattr(Runner, "_forward", forward)
    assert_close(encoder.encode(texts), expected)
    assert len(sizes) > 3
    with pytest.raises(MemoryError, match=r"one sequence of \d+ tokens does not fit into the free memory of cpu: use dtype="):
        encoder.encode([*texts, words(300)])


def test_out_of_memory_for_weights_is_not_a_batch_too_large(native: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder.from_pretrained(native, dtype="float32")
    attempts: list[Task | None] = []

    def build(self: adapters.BodyBuilder, task: Task | None) -> Body:
        attempts.append(task)
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(adapters.BodyBuilder, "build", build)
    with pytest.raises(MemoryError, match=r"the weights of another task do not fit into the free memory of cpu: .*max_bodies=1"):
        encoder.encode(["a"] * 64)
    assert len(attempts) == 1


def test_several_devices_share_the_batches(native: Path, encoder: Encoder) -> None:
    both = Encoder.from_pretrained(native, dtype="float32", device=["cpu", "cpu"], max_batch_tokens=200)
    texts = [words(1 + i % 30, i) for i in range(400)]
    for task in (Task.RETRIEVAL_QUERY, None):
        assert_close(both.encode(texts, task=task), encoder.encode(texts, task=task))
    assert len(runners(both)) == 2
    assert all(runner._bodies._known(Task.RETRIEVAL_QUERY) for runner in runners(both))
    assert both is not shared_encoder(native, dtype="float32", device=["cpu", "cpu"])
    with pytest.raises(TypeError, match="text 3 is int"):
        list(both.encode_iter(["a", "a", "a", 4]))  # type: ignore[list-item]
