"""Calls that are tokenized first and run in the company of others: the vectors of `encode`, however their sequences are mixed."""

from typing import Any

import numpy as np
import pytest

from taskvec import Encoder, Task
from taskvec.packing import Batch

TEXTS = ["Bread rises.", "The moon pulls at the sea, twice a day.", "x " * 40, "Light."]
CALLS: list[dict[str, Any]] = [
    {},
    {"dimensions": 7},
    {"normalize": False, "instruction": "say: "},
    {"late_chunking": True},
    {"late_chunking": True, "dimensions": 5},
]


@pytest.mark.parametrize("task", [Task.RETRIEVAL_PASSAGE, None])
def test_prepared_calls_in_one_batch_are_as_encoded_alone(short: Encoder, task: Task | None) -> None:
    """A context of 64 tokens, so that late chunking has windows, and rows are sums of several pools."""
    prepared = [short.prepare(TEXTS, task=task, **call) for call in CALLS]
    sums = [np.zeros((one.rows, short.dimensions), dtype=np.float32) for one in prepared]
    mixed = [(place, sequence) for place, one in enumerate(prepared) for sequence in one.sequences][::-1]
    pooled = iter(short.run(Batch([sequence for _, sequence in mixed]), task))
    for place, sequence in mixed:
        for pool in sequence.pools:
            sums[place][pool.row] += next(pooled) * pool.weight
    for call, one, total in zip(CALLS, prepared, sums, strict=True):
        expected = short.encode(TEXTS, task=task, **call)
        np.testing.assert_allclose(one.finish(total), expected, atol=2e-6)
        assert one.usage.tokens == sum(len(sequence.ids) for sequence in one.sequences)
    assert any(one.usage.windows for one in prepared)


def test_what_a_prepared_call_refuses(short: Encoder) -> None:
    with pytest.raises(ValueError, match=r"text 0 has .* tokens, instruction included, but the limit is 64"):
        short.prepare(["x " * 100], truncate=False)
    with pytest.raises(TypeError, match="usage is for calls that run at once: leave it out"):
        short.prepare(TEXTS, usage=None)
    with pytest.raises(TypeError, match="late_chunking is 'yes'"):
        short.prepare(TEXTS, late_chunking="yes")  # type: ignore[arg-type]
    assert short.prepare([]).rows == short.prepare([], late_chunking=True).rows == 0
    assert short.devices == [short.device]
