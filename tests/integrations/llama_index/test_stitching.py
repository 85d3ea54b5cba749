"""Stitching chunks back into the text they were cut from: exact where offsets are, one after another where they are not."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from taskvec_integrations.llama_index.stitching import PlacedChunk, StitchedText, stitch

TEXT = "Berlin is the capital. It is old. It is big. It is old."


def cut(text: str, *spans: tuple[int, int]) -> list[PlacedChunk]:
    return [PlacedChunk(text[start:stop], start) for start, stop in spans]


def texts_of(stitched: StitchedText) -> list[str]:
    return [stitched.text[start:stop] for start, stop in stitched.spans]


@settings(deadline=None, max_examples=300)
@given(st.text("ab ", min_size=1, max_size=40), st.data())
def test_chunks_that_cover_a_text_give_it_back_in_whatever_order(text: str, data: st.DataObject) -> None:
    place = st.tuples(st.integers(0, len(text) - 1), st.integers(1, len(text)))
    more = data.draw(st.lists(place.filter(lambda span: span[0] < span[1]), max_size=6))
    bounds = sorted({0, len(text), *data.draw(st.lists(st.integers(0, len(text)), max_size=6))})
    spans = data.draw(st.permutations([*itertools.pairwise(bounds), *more]))
    assert stitch(cut(text, *spans)) == StitchedText(text, list(spans))


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.text("abc ", min_size=1, max_size=8), st.none() | st.integers(0, 20)), min_size=1, max_size=8))
def test_whatever_the_offsets_every_chunk_has_its_own_text(given_chunks: list[tuple[str, int | None]]) -> None:
    chunks = [PlacedChunk(*chunk) for chunk in given_chunks]
    assert texts_of(stitch(chunks)) == [chunk.text for chunk in chunks]


def test_a_gap_becomes_a_blank_however_long() -> None:
    chunks = [PlacedChunk("a b", 0), PlacedChunk("c", 4), PlacedChunk("d", 10**12)]
    assert stitch(chunks) == StitchedText("a b c d", [(0, 3), (4, 5), (6, 7)])
    assert stitch([PlacedChunk("late", 500)]) == StitchedText("late", [(0, 4)])


def test_chunks_may_begin_together_or_hold_one_another() -> None:
    spans = [(0, 22), (0, 33), (10, 20), (34, 55)]
    assert stitch(cut(TEXT, *spans)) == StitchedText(TEXT, spans)


def test_parts_that_were_split_again_are_sections() -> None:
    first, second = "One. Two.", "Six. Ten. Two."
    chunks = [*cut(first, (0, 4), (5, 9)), *cut(second, (0, 4), (5, 9), (10, 14))]
    stitched = stitch(chunks)
    assert stitched == StitchedText(f"{first} {second}", [(0, 4), (5, 9), (10, 14), (15, 19), (20, 24)])


def test_chunks_without_offsets_follow_one_another() -> None:
    assert stitch([PlacedChunk("a", None), PlacedChunk("b", None)]) == StitchedText("a b", [(0, 1), (2, 3)])
    with_one = stitch([*cut(TEXT, (0, 22), (23, 33)), PlacedChunk("x", None), *cut(TEXT, (34, 44), (40, 55))])
    assert with_one.text == f"{TEXT[:33]} x {TEXT[34:]}"
    assert with_one.offsets_fit


def test_offsets_that_contradict_the_texts_are_not_believed() -> None:
    stale = stitch([PlacedChunk("It rains.", 0), PlacedChunk("It snows.", 5), PlacedChunk("It thaws.", 10)])
    assert stale.text == "It rains. It snows. It thaws."
    assert not stale.offsets_fit
