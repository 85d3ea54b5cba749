"""Late chunking: one vector per span from one encoding of the document, windows beyond the context."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from support.checkpoints import Shape, random_weights, write_native
from support.reference import Reference, assert_close, cosines, words
from taskvec import Encoder, Task, Usage
from taskvec.late_chunking import OVERLAP_DIVISOR, best_window, document_sequences, lay_windows, split_range, token_range
from taskvec.tokenizer import TokenizedDocument

CHUNKS = ["The northern lights are caused by", "charged particles that hit", "the upper air. 北极光", "是由带电 مرحبا 🎉"]


def pooled_by_hand(reference: Reference, text: str, spans: Sequence[tuple[int, int]], task: Task | None) -> NDArray[np.float32]:
    """The rule read off the design, token by token: an independent, slow implementation for texts within the context."""
    prefix = task.instruction if task else ""
    encoding = reference.tokenizer.encode(prefix + text)
    states = reference.hidden(encoding.ids, task).numpy()
    last = len(encoding.ids) - 1
    first_characters = {i: encoding.offsets[i][0] - len(prefix) for i in range(1, last)}
    content = [i for i in first_characters if first_characters[i] >= 0]
    frame = [i for i in range(last) if i not in content]
    vectors = []
    for start, stop in spans:
        tokens = [i for i in content if start <= first_characters[i] < stop]
        if not tokens:
            before = [i for i in content if first_characters[i] < start]
            tokens = [before[-1]] if before else content[:1]
        if start == min(s for s, _ in spans):
            tokens = frame + tokens
        if stop == max(s for _, s in spans):
            tokens = [*tokens, last]
        mean = states[tokens].mean(axis=0)
        vectors.append(mean / np.linalg.norm(mean))
    return np.stack(vectors)


SPANS = {
    "contiguous": [(0, 20), (20, 50), (50, 79)],
    "overlapping": [(0, 40), (20, 60), (30, 79)],
    "gaps": [(10, 20), (40, 50)],
    "unordered": [(50, 60), (0, 10), (20, 30)],
    "inside a word": [(0, 6), (6, 8), (8, 30)],
    "inside a token": [(0, 7), (7, 8), (8, 79)],
    "identical": [(5, 25), (5, 25)],
    "nested": [(0, 79), (10, 20), (0, 10)],
    "one": [(0, 79)],
    "a blank": [(3, 4), (12, 13)],
}
TEXT = "The northern lights are caused by charged particles that hit the upper air. Yes"
SCRIPTS = {
    "cjk": "北极光是由带电粒子撞击高层大气引起的。パンは酵母で膨らむ。",
    "emoji": "🎉🎉 light 👩‍👩‍👧 and ☃ snow",
    "right-to-left": "שלום עולם, זה משפט בעברית. مرحبا بالعالم",
    "composed": "e\u0301te\u0301 ﬁne Ⅷ ½ ㎏",
}


@pytest.fixture(scope="module")
def reference(native: Path) -> Reference:
    return Reference(native)


@pytest.mark.parametrize("task", [Task.RETRIEVAL_PASSAGE, Task.SEPARATION, None])
@pytest.mark.parametrize("spans", SPANS.values(), ids=SPANS.keys())
def test_spans_equal_the_rule_applied_by_hand(
    encoder: Encoder, reference: Reference, spans: list[tuple[int, int]], task: Task | None
) -> None:
    (actual,) = encoder.encode_spans([TEXT], [spans], task=task)
    assert_close(actual, pooled_by_hand(reference, TEXT, spans, task))


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS.keys())
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_every_script_cut_anywhere(encoder: Encoder, reference: Reference, text: str, size: int) -> None:
    spans = [(start, min(start + size, len(text))) for start in range(0, len(text), size)]
    (actual,) = encoder.encode_spans([text], [spans])
    assert_close(actual, pooled_by_hand(reference, text, spans, Task.RETRIEVAL_PASSAGE))


def test_one_chunk_equals_plain_encode(encoder: Encoder) -> None:
    for task in [*Task, None]:
        plain = encoder.encode(TEXT, task=task)
        assert_close(encoder.encode([TEXT], task=task, late_chunking=True)[0], plain)
        assert_close(encoder.encode(TEXT, task=task, late_chunking=True), plain)
        assert_close(encoder.encode_chunks([[TEXT]], task=task)[0][0], plain)
        assert_close(encoder.encode_spans([TEXT], [[(0, len(TEXT))]], task=task)[0][0], plain)


def test_chunks_are_spans_of_the_text_joined_by_spaces(encoder: Encoder) -> None:
    text = " ".join(CHUNKS)
    spans, start = [], 0
    for chunk in CHUNKS:
        spans.append((start, start + len(chunk)))
        start += len(chunk) + 1
    (from_spans,) = encoder.encode_spans([text], [spans], dimensions=5)
    (from_chunks,) = encoder.encode_chunks([CHUNKS], dimensions=5)
    assert_close(from_chunks, from_spans)
    assert_close(encoder.encode_documents(CHUNKS, late_chunking=True, dimensions=5), from_spans)
    expected = encoder.encode_chunks([CHUNKS], task="text-matching")[0]
    assert_close(encoder.encode(CHUNKS, late_chunking=True), expected)


def test_chunks_see_their_document(encoder: Encoder) -> None:
    """The same chunk in other company has another vector, which it has not when embedded alone."""
    here = encoder.encode(["It is cold.", "The north."], late_chunking=True)[0]
    there = encoder.encode(["It is cold.", "Bread rises because yeast"], late_chunking=True)[0]
    assert cosines(here, there) < 0.999


def test_many_documents_at_once_equal_each_alone(encoder: Encoder) -> None:
    documents = [[words(3 + i % 5, i + j) for j in range(i % 4)] for i in range(30)]
    together = encoder.encode_chunks(documents)
    assert [len(vectors) for vectors in together] == [len(chunks) for chunks in documents]
    for vectors, chunks in zip(together, documents, strict=True):
        if chunks:
            assert_close(vectors, encoder.encode_chunks([chunks])[0])
        else:
            assert vectors.shape == (0, encoder.dimensions)


def test_blank_documents_and_chunks(encoder: Encoder) -> None:
    """Nothing to read but still one unit vector each: from the frame, or from the token before the blank."""
    for chunks in ([" "], [" ", "\n", "  "], ["bread", " ", "yeast"], [" ", "yeast"]):
        vectors = encoder.encode(chunks, late_chunking=True)
        assert vectors.shape == (len(chunks), encoder.dimensions)
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert_close(encoder.encode([" "], late_chunking=True)[0], encoder.encode(" "))


def test_a_merge_across_the_instruction_belongs_to_the_instruction(encoder: Encoder) -> None:
    """An instruction without a final space runs into the first word; every span still gets a vector."""
    (vectors,) = encoder.encode_spans(["lights are on"], [[(0, 2), (2, 6), (7, 13)]], instruction="north")
    assert np.isfinite(vectors).all()
    plain = encoder.encode("lights are on", task="retrieval.passage", instruction="north")
    assert_close(encoder.encode_spans(["lights are on"], [[(0, 13)]], instruction="north")[0][0], plain)


# Windows


def test_twenty_thousand_tokens_give_every_chunk_its_vector(encoder: Encoder) -> None:
    chunks = [words(40, i) for i in range(260)]
    assert sum(encoder.count_tokens(chunks)) > 20_000
    usage = Usage()
    first = encoder.encode_documents(chunks, late_chunking=True, usage=usage)
    assert first.shape == (260, encoder.dimensions)
    assert np.allclose(np.linalg.norm(first, axis=1), 1, atol=1e-6)
    assert usage.windows >= 3
    assert usage.truncated == 0
    assert np.array_equal(first, encoder.encode_documents(chunks, late_chunking=True))


def test_windows_equal_the_whole_when_the_context_is_large_enough(tmp_path: Path, encoder: Encoder) -> None:
    """A model of one context against the same weights in a shorter one: with attention blinded to all but the token itself,
    windows must not change anything; this isolates the bookkeeping from the (wanted) loss of far context.
    """
    weights = random_weights(Shape(layers=1))
    for layer in range(1):
        weights.base[f"encoder.layers.{layer}.mixer.out_proj.weight"].zero_()
    for a, b in (weights.lora[name] for name in weights.lora if "out_proj" in name):
        a.zero_(), b.zero_()
    whole = Encoder.from_pretrained(write_native(tmp_path / "whole", weights), dtype="float32")
    config = (tmp_path / "whole" / "config.json").read_text()
    for positions in (40, 66, 130):
        cut_folder = write_native(tmp_path / str(positions), weights)
        (cut_folder / "config.json").write_text(config.replace("8194", str(positions)))
        windowed = Encoder.from_pretrained(cut_folder, dtype="float32")
        for size in (1, 5, 60):
            chunks = [words(size, i) for i in range(2 + 300 // size)]
            usage = Usage()
            actual = windowed.encode_documents(chunks, late_chunking=True, usage=usage)
            assert usage.windows > 1
            assert_close(actual, whole.encode_documents(chunks, late_chunking=True))


def test_each_window_has_its_own_frame(short: Encoder, short_folder: Path) -> None:
    """Real attention: every window is `<s>`, instruction, its tokens, `</s>`, and each chunk is pooled from its best one."""
    reference = Reference(short_folder)
    chunks = [words(3, i) for i in range(40)]
    for task in (Task.RETRIEVAL_PASSAGE, Task.SEPARATION):
        (document,) = short._tokenizer.encode_documents([" ".join(chunks)], task.instruction)
        ids, capacity = document.ids, short.max_tokens - document.prefix - 1
        starts = np.cumsum([0, *(len(chunk) + 1 for chunk in chunks)])
        ranges = [token_range(document, (int(a), int(b) - 1)) for a, b in pairwise(starts)]
        windows = lay_windows(ranges, document.length, capacity)
        assert len(windows) > 3
        content = ids[document.prefix : -1]
        states = [reference.hidden([*ids[: document.prefix], *content[a:b], ids[-1]], task).numpy() for a, b in windows]
        expected = []
        for i, (start, stop) in enumerate(ranges):
            best = max(range(len(windows)), key=lambda w: (min(start - windows[w][0], windows[w][1] - stop), -w))
            offset = document.prefix - windows[best][0]
            first, last = i == 0, i == len(chunks) - 1
            tokens = states[best][0 if first else start + offset : stop + offset + last]
            expected.append(tokens.mean(axis=0) / np.linalg.norm(tokens.mean(axis=0)))
        assert_close(short.encode_documents(chunks, task=task, late_chunking=True), np.stack(expected))


def test_a_document_that_just_fits_has_no_windows(short: Encoder) -> None:
    instruction = len(short._tokenizer.encode([""], Task.RETRIEVAL_PASSAGE.instruction)[0])
    usage = Usage()
    text = "a" + " a" * ((short.max_tokens - instruction) // short.count_tokens("a a")[0])
    short.encode_documents([text[:10], text[11:20]], late_chunking=True, usage=usage)
    assert usage.windows == 0


def test_a_span_longer_than_a_window_is_pooled_over_its_windows(short: Encoder) -> None:
    long, tail = words(120), words(4)
    usage = Usage()
    vectors = short.encode([long, tail], late_chunking=True, usage=usage)
    assert vectors.shape == (2, short.dimensions)
    assert usage.windows >= 3
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


ranges = st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 400)), min_size=1, max_size=40)


@settings(deadline=None, max_examples=300)
@given(ranges=ranges, capacity=st.integers(1, 500), contiguous=st.booleans())
def test_windows_hold_every_piece_whole(ranges: list[tuple[int, int]], capacity: int, contiguous: bool) -> None:
    if contiguous:
        ends = np.cumsum([size for _, size in ranges])
        spans = [(int(end) - size, int(end)) for end, (_, size) in zip(ends, ranges, strict=True)]
    else:
        spans = [(start, start + size) for start, size in ranges]
    length = max(stop for _, stop in spans) + 5
    pieces = [piece for span in spans for piece in split_range(span, capacity)]
    assert sorted({i for piece in pieces for i in range(*piece)}) == sorted({i for span in spans for i in range(*span)})
    windows = lay_windows(pieces, length, capacity)
    assert all(0 <= start < stop <= length and stop - start <= max(capacity, 0) for start, stop in windows)
    for piece in pieces:
        start, stop = windows[best_window(windows, piece)]
        assert start <= piece[0]
        assert piece[1] <= stop


def test_neighboring_windows_overlap_and_cost_stays_linear() -> None:
    pieces = [(i, i + 97) for i in range(0, 97_000, 97)]
    windows = lay_windows(pieces, 97_000, 8000)
    for (_, stop), (start, _) in pairwise(windows):
        assert 1800 < stop - start <= 8000 // OVERLAP_DIVISOR
        assert start % 97 == 0
        assert stop % 97 == 0
    assert sum(stop - start for start, stop in windows) < 97_000 * 1.4
    for piece in pieces[80:-80]:
        start, stop = windows[best_window(windows, piece)]
        assert min(piece[0] - start, stop - piece[1]) >= 900


def test_a_lone_span_far_inside_gets_context_on_both_sides() -> None:
    ((start, stop),) = lay_windows([(10_000, 10_100)], 20_000, 8000)
    assert 10_000 - start == 2000
    assert stop - 10_100 >= 5000


def test_an_instruction_that_fills_the_window() -> None:
    document = TokenizedDocument(np.arange(20), prefix=10, starts=np.arange(9))
    with pytest.raises(ValueError, match="the instruction leaves no room: it takes 9 of 11 tokens, shorten it"):
        document_sequences(document, [(0, 3)], 0, max_tokens=11)
