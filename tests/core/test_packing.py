"""Packing changes nothing: any composition of a batch gives each text the vector it has alone."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.inside import pipeline
from support.reference import Reference, assert_close, words
from taskvec import Encoder, Task
from taskvec.packing import SQUARES_PER_TOKEN, TokenSequence, pack

texts = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
        st.builds(words, st.integers(0, 80), st.integers(0, 60)),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=texts, task=st.sampled_from([*Task, None]), budget=st.integers(1, 400), dimensions=st.integers(1, 64))
def test_packed_equals_one_at_a_time(
    encoder: Encoder, native: Path, texts: list[str], task: Task | None, budget: int, dimensions: int
) -> None:
    pipeline(encoder)._max_batch_tokens = budget
    try:
        together = encoder.encode(texts, task=task, dimensions=dimensions)
    finally:
        pipeline(encoder)._max_batch_tokens = encoder.max_batch_tokens
    assert together.shape == (len(texts), dimensions)
    for vector, text in zip(together, texts, strict=True):
        assert_close(vector, encoder.encode(text, task=task, dimensions=dimensions))


def test_lengths_from_one_token_to_the_whole_context(encoder: Encoder, native: Path) -> None:
    """Empty, one token, every small length, some large ones, exactly the context and one more than it."""
    corpus = ["", *(words(n) for n in range(1, 40)), words(700), words(1500)]
    longest = words(9000)
    corpus += [longest, longest + " more"]
    assert max(encoder.count_tokens(corpus)) > encoder.max_tokens == 8192
    reference = Reference(native)
    together = encoder.encode(corpus[::-1])[::-1]
    assert_close(together, np.stack([encoder.encode(text) for text in corpus]))
    assert_close(together, reference.encode(corpus, Task.TEXT_MATCHING))
    assert_close(together[-1], together[-2])  # both are cut at the same token


def test_batches_respect_both_budgets_and_lose_nothing() -> None:
    generator = np.random.default_rng(0)
    lengths = np.minimum(np.exp(generator.normal(4.6, 1.2, 500)).astype(int) + 2, 8192)
    sequences = [TokenSequence.whole(np.zeros(length, dtype=np.int64), row) for row, length in enumerate(lengths)]
    batches = list(pack(sequences, 2048))
    for batch in batches:
        alone = len(batch.sequences) == 1
        assert alone or sum(batch.lengths) <= 2048
        assert alone or sum(length**2 for length in batch.lengths) <= 2048 * SQUARES_PER_TOKEN
    assert sorted(pool.row for batch in batches for pool in batch.pools) == list(range(500))
    assert sum(map(len, (batch.sequences for batch in batches))) == 500
    # No batch could take the next one's first sequence: nothing is padded, little is left empty.
    assert len(batches) <= lengths.sum() / 2048 * 1.25


def test_long_sequences_are_bounded_by_their_squares() -> None:
    sequences = [TokenSequence.whole(np.zeros(8192, dtype=np.int64), row) for row in range(4)]
    assert [len(batch.sequences) for batch in pack(sequences, 32768)] == [2, 2]


@pytest.mark.parametrize("count", [0, 1, 2, 5000])
def test_order_and_count_are_kept_over_many_blocks(short: Encoder, count: int) -> None:
    corpus = [words(1 + i % 7, i) for i in range(count)]
    vectors = short.encode(corpus, dimensions=8)
    assert vectors.shape == (count, 8)
    for i in range(0, count, max(1, count // 9)):
        assert_close(vectors[i], short.encode(corpus[i], dimensions=8))
