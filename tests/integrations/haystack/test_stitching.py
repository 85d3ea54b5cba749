"""Stitching recovers a text from its chunks, whatever the text: few letters, so that everything repeats."""

import pytest
from haystack import Document
from hypothesis import given
from hypothesis import strategies as st

from haystack_integrations.components.embedders.taskvec.stitching import SplitChunk, Stitcher, stitch

TEXTS = st.text("ab \n", min_size=1, max_size=60)


def chunk(content: str, number: int | None, offset: int | None, source: str = "s") -> SplitChunk:
    meta = {"source_id": source, "split_id": number, "split_idx_start": offset}
    return SplitChunk(Document(content=content, meta=meta), (number or 0,), [0])


@st.composite
def splits(draw: st.DrawFn) -> tuple[str, list[tuple[int, int]]]:
    """A text and ranges that cover it, each beginning after the last one did and reaching further."""
    text = draw(TEXTS)
    starts = sorted({0, *draw(st.lists(st.integers(0, len(text) - 1), max_size=6))})
    stops = [draw(st.integers(next_start, min(len(text), next_start + 8))) for next_start in starts[1:]] + [len(text)]
    ranges = [(start, max(stop, *stops[:i], start + 1)) for i, (start, stop) in enumerate(zip(starts, stops, strict=True))]
    return text, [pair for i, pair in enumerate(ranges) if i == 0 or pair[1] > ranges[i - 1][1] or pair[0] > ranges[i - 1][0]]


@given(splits())
def test_chunks_that_cover_a_text_give_it_back(split: tuple[str, list[tuple[int, int]]]) -> None:
    text, ranges = split
    got = stitch([chunk(text[start:stop], number, start) for number, (start, stop) in enumerate(ranges)])
    assert got == (text, ranges, 0)


@given(splits(), st.data())
def test_whatever_is_missing_or_wrong_spans_are_of_their_chunks(
    split: tuple[str, list[tuple[int, int]]], data: st.DataObject
) -> None:
    text, ranges = split
    offsets = st.one_of(st.none(), st.integers(0, 70))
    chunks = [
        chunk(text[start:stop], number, data.draw(st.one_of(st.just(start), offsets)))
        for number, (start, stop) in enumerate(ranges)
        if data.draw(st.booleans())
    ]
    whole = [SplitChunk(Document(id="s", content=text), (), [])] if data.draw(st.booleans()) else []
    stitched, spans, misplaced = stitch(whole + chunks)
    assert [stitched[start:stop] for start, stop in spans] == [item.content for item in whole + chunks]
    assert 0 <= misplaced <= len(chunks)
    assert stitched.startswith(text) or not whole


@pytest.mark.parametrize(
    ("chunks", "text", "misplaced"),
    [
        ([("One. ", 0, 0), ("Two.", 1, 5)], "One. Two.", 0),
        ([("One. Two.", 0, 0), ("Two. Three.", 1, 5)], "One. Two. Three.", 0),
        ([("One.", 0, 0), ("Three.", 2, 10)], "One. Three.", 0),
        ([("One.", 0, 0), ("Two.", 1, 5)], "One. Two.", 1),
        ([("One. Two.", 0, 0), ("X. Three.", 1, 5)], "One. Two. X. Three.", 1),
        ([("One.", 0, None), ("Two.", 1, None)], "One. Two.", 0),
        ([("One. Two.", 3, 40), ("Two. Three.", 4, 45)], "One. Two. Three.", 0),
        ([("A one. ", 0, 0), ("B two ", 1, 0), ("two three", 2, 2)], "A one. B two three", 0),
    ],
    ids=[
        "adjacent",
        "overlap",
        "one left out",
        "blank cleaned away",
        "overlap changed",
        "no offsets",
        "not the first",
        "sections",
    ],
)
def test_how_chunks_are_joined(chunks: list[tuple[str, int, int | None]], text: str, misplaced: int) -> None:
    assert stitch([chunk(*parts) for parts in chunks])[::2] == (text, misplaced)


def test_a_known_text_does_not_move_for_a_chunk_that_it_lacks() -> None:
    stitcher = Stitcher()
    stitcher.add(SplitChunk(Document(id="s", content="One. Two. Three."), (), []))
    spans = [stitcher.add(chunk(*parts)) for parts in (("One.", 0, 0), ("Zwei.", 1, 5), ("Three.", 2, 11))]
    assert (stitcher.text, stitcher.misplaced) == ("One. Two. Three. Zwei.", 1)
    assert spans == [(0, 4), (17, 22), (10, 16)]


def test_chunks_without_offsets_are_found_in_their_source_one_after_another() -> None:
    source = SplitChunk(Document(id="s", content="X. A. X. B."), (), [])
    _, spans, misplaced = stitch([source, *(chunk(part, number, None) for number, part in enumerate(("X.", "A.", "X.", "B.")))])
    assert (spans[1:], misplaced) == ([(0, 2), (3, 5), (6, 8), (9, 11)], 0)
