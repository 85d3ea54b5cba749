"""Checks the inputs of the encode methods before anything is tokenized: texts, chunks and spans, each with its place."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import NamedTuple

from taskvec.late_chunking import Span, check_spans, join_chunks


class Item(NamedTuple):
    """One input and its place in the call, for error messages: a text, with character spans if it is a document."""

    position: int
    text: str
    spans: Sequence[Span] = ()


def read_texts(texts: str | Iterable[str], name: str = "text") -> Iterator[Item]:
    """Check texts one by one.

    Args:
        texts: One text, or any number of them.
        name: What a text is called in error messages.

    Yields:
        Each text with its place.

    Raises:
        TypeError: `texts` is not an ordered iterable, or a text is not a str.
        ValueError: A text is not valid Unicode.
    """
    if isinstance(texts, str):
        texts = [texts]
    unordered = isinstance(texts, bytes | bytearray | Mapping | Set)
    if unordered or not isinstance(texts, Iterable) or getattr(texts, "ndim", 1) != 1:
        raise TypeError(f"{name}s must be a str or a one-dimensional iterable of str in order, got {type(texts).__name__}")
    for position, text in enumerate(texts):
        yield Item(position, check_text(text, f"{name} {position}"))


def read_spans(texts: Iterable[str], spans: Iterable[Iterable[Span]]) -> list[Item]:
    """Check documents and their character spans; raises TypeError or ValueError with document and span."""
    for name, values in (("texts", texts), ("spans", spans)):
        _check_list(values, name, "encode_spans([text], [[(start, stop), ...]])")
    items, lists = list(read_texts(texts, "document")), list(spans)
    if len(items) != len(lists):
        raise ValueError(f"texts has {len(items)} entries, but spans has {len(lists)}: pass a list of spans for each text")
    for position, spans_of_text in enumerate(lists):
        _check_list(spans_of_text, f"spans[{position}]", "[(start, stop), ...]")
    return [
        item._replace(spans=check_spans(spans_of_text, item.text, f"document {item.position}"))
        for item, spans_of_text in zip(items, lists, strict=True)
    ]


def read_spanned(documents: Iterable[tuple[str, Iterable[Span]]]) -> Iterator[Item]:
    """Check (text, spans) pairs one by one, as `read_spans` does."""
    _check_list(documents, "documents", "encode_spans_iter([(text, [(start, stop), ...]), ...])")
    for position, pair in enumerate(documents):
        where = f"document {position}"
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(f"{where} is {type(pair).__name__}: a pair of a text and a list of spans was expected")
        text, spans = check_text(pair[0], where), pair[1]
        _check_list(spans, f"the second part of {where}", "[(start, stop), ...]")
        yield Item(position, text, check_spans(spans, text, where))


def read_chunks(documents: Iterable[Iterable[str]]) -> list[Item]:
    """Check documents that are lists of chunk texts, and join each by spaces: one text with the span of every chunk."""
    example = "encode_chunks([[chunk, chunk], ...])"
    _check_list(documents, "documents", example)
    items = []
    for position, chunks in enumerate(documents):
        _check_list(chunks, f"document {position}", example)
        texts = [chunk.text for chunk in read_texts(chunks, f"document {position}, chunk")]
        items.append(Item(position, *join_chunks(texts, f"document {position}, ")))
    return items


def _check_list(values: object, name: str, example: str) -> None:
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise TypeError(f"{name} is {type(values).__name__}: a list was expected, as in {example}")


def check_text(text: object, where: str) -> str:
    """Return a text that a tokenizer can read; raise a TypeError or ValueError that begins with `where`."""
    if not isinstance(text, str):
        raise TypeError(f"{where} is {type(text).__name__}: a str was expected")
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{where} has a lone surrogate at character {error.start}, which is not valid Unicode: "
            "clean it with text.encode('utf-8', 'replace').decode()"
        ) from None
    return text
