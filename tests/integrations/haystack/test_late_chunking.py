"""Late chunking of what Haystack's splitters make equals the encoder's own on the same text and spans."""

import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from haystack import Document
from haystack.components import preprocessors
from haystack.components.preprocessors import DocumentCleaner, DocumentPreprocessor, DocumentSplitter, MarkdownHeaderSplitter
from haystack.components.preprocessors import HierarchicalDocumentSplitter as Hierarchical

from support.haystack_texts import BREAD, CITY, SPLITTINGS, Splitting
from taskvec import Encoder, Usage

Make = Callable[..., Any]

SENTENCES = DocumentSplitter(split_by="period", split_length=1)


def embeddings(result: dict[str, Any]) -> np.ndarray:
    return np.array([document.embedding for document in result["documents"]], dtype=np.float32)


def expect(got: np.ndarray, text: str, contents: list[str], encoder: Encoder) -> None:
    """Vectors of contents as encode_spans has them in the text; those that it holds more than once are not compared."""
    spans = [(text.index(content), text.index(content) + len(content)) for content in contents]
    (wanted,) = encoder.encode_spans([text], [spans])
    once = [text.count(content) == 1 for content in contents]
    assert sum(once) > len(once) / 2
    np.testing.assert_allclose(got[once], wanted[once], atol=1e-6)


def split(documents: list[Document], seed: int | None = None) -> list[Document]:
    chunks: list[Document] = SENTENCES.run(documents=documents)["documents"]
    if seed is not None:
        random.Random(seed).shuffle(chunks)
    return chunks


def contents(documents: list[Document]) -> list[str]:
    return [document.content or "" for document in documents]


def test_every_splitter_of_haystack_is_among_them() -> None:
    names = {name for names in preprocessors._import_structure.values() for name in names if name.endswith("Splitter")}
    assert names == {type(splitting.make_splitter()).__name__ for splitting in SPLITTINGS.values()}


@pytest.mark.parametrize("with_sources", [False, True], ids=["chunks alone", "with sources"])
@pytest.mark.parametrize("splitting", SPLITTINGS.values(), ids=SPLITTINGS)
def test_chunks_of_shuffled_sources(
    splitting: Splitting, with_sources: bool, make: Make, mini: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    sources = [Document(content=text, meta={"n": n}) for n, text in enumerate(splitting.texts)]
    chunks = splitting.split(sources)
    assert len(chunks) > 2 * len(sources) - 1
    random.Random(3).shuffle(chunks)
    caplog.clear()
    result = make("documents", late_chunking=True).run(chunks, sources=sources if with_sources else None)
    assert contents(result["documents"]) == contents(chunks)
    assert all(chunk.embedding is None for chunk in chunks)
    got = embeddings(result)
    for n, text in enumerate(splitting.texts):
        rows = [row for row, chunk in enumerate(chunks) if chunk.meta["n"] == n]
        own = [chunks[row] for row in rows]
        if not splitting.verbatim:
            if with_sources:
                continue
            text = "".join(contents(sorted(own, key=lambda chunk: chunk.meta["split_id"])))
        expect(got[rows], text, contents(own), mini)
    if splitting.verbatim:
        assert result["meta"]["fallbacks"] == 0
        assert not [record for record in caplog.records if record.name == "taskvec"]


def test_a_source_of_more_chunks_than_any_batch_is_read_once(make: Make, mini: Encoder) -> None:
    """Components that cut the flat list into 32s mix sources and cut documents."""
    texts = [" ".join(f"{word} number {n} is here." for n in range(50)) for word in ("Bread", "Snow", "Rain")]
    chunks = split([Document(content=text) for text in texts], seed=1)
    result = make("documents", late_chunking=True).run(chunks)
    for text, word in zip(texts, ("Bread", "Snow", "Rain"), strict=True):
        rows = [row for row, chunk in enumerate(chunks) if word in (chunk.content or "")]
        assert len(rows) > 32
        expect(embeddings(result)[rows], text, contents([chunks[row] for row in rows]), mini)
    mini.encode_documents(texts, usage=(usage := Usage()))
    assert result["meta"]["tokens"] == usage.tokens


def test_a_source_longer_than_the_context_is_read_in_windows(make: Make, short: Encoder, short_folder: Path) -> None:
    text = "One starts it. " + " ".join(f"Part {n} goes on." for n in range(40))
    chunks = split([Document(content=text)], seed=2)
    result = make("documents", str(short_folder), late_chunking=True).run(chunks)
    expect(embeddings(result), text, contents(chunks), short)
    assert result["meta"]["windows"] > 1
    assert result["meta"]["truncated"] == 0


def test_what_was_dropped_is_a_gap_and_context_where_the_sources_are_given(
    make: Make, mini: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    source = Document(content=CITY)
    chunks = split([source])
    kept = [chunks[0], chunks[1], chunks[4], chunks[5]]
    embedder = make("documents", late_chunking=True)
    result = embedder.run(kept)
    expect(embeddings(result), "".join(contents(kept)), contents(kept), mini)
    expect(embeddings(embedder.run(kept, sources=[source])), CITY, contents(kept), mini)
    assert not caplog.records
    assert result["meta"]["fallbacks"] == 0


def test_a_gap_without_a_blank_gets_one(make: Make, mini: Encoder) -> None:
    chunks = split([Document(content="One.Two.Three.")])
    result = make("documents", late_chunking=True).run([chunks[0], chunks[2]])
    expect(embeddings(result), "One. Three.", ["One.", "Three."], mini)


def test_headers_that_went_to_the_metadata_give_context_from_the_sources(make: Make, mini: Encoder) -> None:
    source = Document(content=CITY)
    chunks = MarkdownHeaderSplitter(keep_headers=False).run(documents=[source])["documents"]
    embedder = make("documents", late_chunking=True)
    expect(embeddings(embedder.run(chunks, sources=[source])), CITY, contents(chunks), mini)
    expect(embeddings(embedder.run(chunks)), "".join(contents(chunks)), contents(chunks), mini)


@pytest.mark.parametrize("secondary", [None, "period"])
def test_sections_of_the_same_text_are_not_taken_for_one(secondary: Any, make: Make, mini: Encoder) -> None:
    text = "# A\nTo be written.\n# B\nTo be written.\n# C\nA long one. To be written.\n"
    splitter = MarkdownHeaderSplitter(keep_headers=False, secondary_split=secondary, split_length=1)
    chunks = splitter.run(documents=[Document(content=text)])["documents"]
    joined = "".join(contents(chunks))
    ends = np.cumsum([len(content) for content in contents(chunks)])
    spans = [(int(end) - len(content), int(end)) for end, content in zip(ends, contents(chunks), strict=True)]
    (wanted,) = mini.encode_spans([joined], [spans])
    np.testing.assert_allclose(embeddings(make("documents", late_chunking=True).run(chunks)), wanted, atol=1e-6)


def test_offsets_are_stale_after_a_cleaner_that_follows_the_splitter(
    make: Make, mini: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    before = split([Document(content=CITY)])
    chunks = DocumentCleaner(False, False, remove_substrings=[" the"]).run(documents=before)["documents"]
    result = make("documents", late_chunking=True).run(chunks)
    expect(embeddings(result), CITY.replace(" the", ""), contents(chunks), mini)
    after_shortened = sum(" the" in content for content in contents(before)[:-1])
    assert result["meta"]["fallbacks"] == after_shortened > 1
    (record,) = caplog.records
    assert f"{after_shortened} of {len(chunks)} chunks are not where their source and split_idx_start say" in record.message
    assert record.levelno == logging.WARNING


def test_overlaps_that_a_document_preprocessor_cleaned_are_not_joined(make: Make, mini: Encoder) -> None:
    splitter = DocumentPreprocessor(split_by="period", split_length=2, split_overlap=1)
    text = " ".join(f"Part   {n} is here." for n in range(5))
    chunks = splitter.run(documents=[Document(content=text)])["documents"]
    result = make("documents", late_chunking=True).run(chunks)
    joined = " ".join(content.strip() for content in contents(chunks))
    assert joined.count("Part 1 is here.") == 2
    ends = np.cumsum([len(content.strip()) + 1 for content in contents(chunks)]) - 1
    spans = [(int(end) - len(content), int(end)) for end, content in zip(ends, contents(chunks), strict=True)]
    (wanted,) = mini.encode_spans([joined], [spans])
    np.testing.assert_allclose(embeddings(result), wanted, atol=1e-6)
    assert result["meta"]["fallbacks"] == len(chunks) - 1


def test_a_source_that_lacks_its_chunks_is_reported_and_still_gives_context(
    make: Make, mini: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    source = Document(content="One is here. Two is there.")
    chunks = split([source])
    changed = [chunks[0], Document(content="Another text.", meta=chunks[1].meta)]
    result = make("documents", late_chunking=True).run(changed, sources=[source])
    expect(embeddings(result), f"{source.content} Another text.", ["One is here.", "Another text."], mini)
    assert result["meta"]["fallbacks"] == 1
    assert "1 of 2 chunks" in caplog.text


def test_sources_that_are_of_no_document_are_reported(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    make("documents", late_chunking=True).run(split([Document(content=CITY)]), sources=[Document(content=BREAD)])
    assert "no source_id of the documents is the id of one of the 1 sources" in caplog.text


def test_documents_without_a_source_are_alone(make: Make, mini: Encoder) -> None:
    texts = ["Bread rises.", CITY, "", "Bread rises.", " \n"]
    documents = [Document(content=text) for text in texts]
    result = make("documents", late_chunking=True).run(documents)
    np.testing.assert_allclose(embeddings(result), mini.encode_documents(texts), atol=1e-6)
    assert result["meta"]["fallbacks"] == 0


def test_identical_documents_are_read_once(make: Make, mini: Encoder) -> None:
    source = Document(content=CITY)
    chunks = split([source, source])
    random.Random(5).shuffle(chunks)
    embedder = make("documents", late_chunking=True)
    result = embedder.run(chunks)
    once = embedder.run(split([source]))
    by_content = dict(zip(contents(once["documents"]), embeddings(once), strict=True))
    np.testing.assert_allclose(embeddings(result), [by_content[content] for content in contents(chunks)], atol=1e-6)
    assert result["meta"]["tokens"] == once["meta"]["tokens"]


def test_different_texts_with_one_id_are_kept_apart(make: Make, mini: Encoder, caplog: pytest.LogCaptureFixture) -> None:
    texts = ["One is a. Two is b.", "Three is c. Four is d. Five is e."]
    chunks = split([Document(id="same", content=text) for text in texts])
    result = make("documents", late_chunking=True).run(chunks)
    expect(embeddings(result)[:2], texts[0], contents(chunks[:2]), mini)
    expect(embeddings(result)[2:], texts[1], contents(chunks[2:]), mini)
    assert "1 source_ids are those of more than one text" in caplog.text


def test_leaves_of_a_hierarchy_share_their_parent_or_the_root_that_is_given(make: Make, mini: Encoder) -> None:
    source = Document(content=CITY)
    tree = Hierarchical(block_sizes={30, 6}).run(documents=[source])["documents"]
    leaves = [node for node in tree if not node.meta["__children_ids"]]
    others = [node for node in tree if node.meta["__children_ids"]]
    embedder = make("documents", late_chunking=True)
    expect(embeddings(embedder.run(leaves, sources=others)), CITY, contents(leaves), mini)
    alone = embeddings(embedder.run(leaves))
    for parent in others:
        rows = [row for row, leaf in enumerate(leaves) if leaf.meta["__parent_id"] == parent.id]
        parts = contents([leaves[row] for row in rows])
        if rows:
            expect(alone[rows], "".join(parts), parts, mini)


def test_metadata_is_context_once_and_pooled_by_no_chunk(make: Make, mini: Encoder) -> None:
    chunks = split([Document(content=CITY, meta={"title": "A capital", "year": 2024, "none": None})], seed=1)
    around = {"prefix": "passage: ", "suffix": " (end)", "meta_fields_to_embed": ["title", "missing", "none", "year"]}
    result = make("documents", late_chunking=True, embedding_separator=" | ", **around).run(chunks)
    expect(embeddings(result), f"passage: A capital | 2024 | {CITY} (end)", contents(chunks), mini)
    plain = make("documents", embedding_separator=" | ", **around).run(chunks)
    wanted = mini.encode_documents([f"passage: A capital | 2024 | {content} (end)" for content in contents(chunks)])
    np.testing.assert_allclose(embeddings(plain), wanted, atol=1e-6)


def test_metadata_that_differs_between_chunks_is_read_once_a_value(make: Make, mini: Encoder) -> None:
    chunks = MarkdownHeaderSplitter(keep_headers=False).run(documents=[Document(content=BREAD)])["documents"]
    result = make("documents", late_chunking=True, meta_fields_to_embed=["header"]).run(chunks)
    head = "Sourdough\nHow it is baked\n"
    expect(embeddings(result), head + "".join(contents(chunks)), contents(chunks), mini)


def test_chunks_of_an_own_splitter_need_a_source_id_only(make: Make, mini: Encoder) -> None:
    parts = ["One is a.", "Two is b.", "Three is c."]
    result = make("documents", late_chunking=True).run([Document(content=part, meta={"source_id": 7}) for part in parts])
    expect(embeddings(result), " ".join(parts), parts, mini)


def test_numbers_come_before_offsets(make: Make, mini: Encoder) -> None:
    """A splitting function may leave out the beginning of a text; the first chunk's offset is above all numbers then."""
    splitter = DocumentSplitter(split_by="function", splitting_function=lambda text: text.split("|")[1:])
    chunks = splitter.run(documents=[Document(content="What nobody needs|One is a. |Two is b. |Three is c.")])["documents"]
    result = make("documents", late_chunking=True).run(chunks)
    expect(embeddings(result), "One is a. Two is b. Three is c.", contents(chunks), mini)


def test_odd_metadata_is_no_reason_to_fail(make: Make) -> None:
    odd: list[dict[str, Any]] = [
        {"source_id": ["a"]},
        {"source_id": "x", "split_id": "1", "split_idx_start": -3},
        {"source_id": "x", "split_idx_start": 9.5},
    ]
    documents = [
        Document(id="x", content="Self.", meta={"source_id": "x"}),
        *(Document(content="Odd.", meta=meta) for meta in odd),
    ]
    assert embeddings(make("documents", late_chunking=True).run(documents)).shape == (4, 384)
