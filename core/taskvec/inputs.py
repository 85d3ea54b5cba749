"""Checking what the encode methods are given, before anything is tokenised: texts, chunks and spans, each with its place."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import NamedTuple

from taskvec.late_chunking import Span, check_spans, join_chunks


class Item(NamedTuple):
    """One input and its place in the call, for error messages: a text, with character spans if it is a document."""

    position: int
    text: str
    spans: Sequence[Span] = ()


def read_texts(texts: str | Iterable[str], name: str = "text") -> Iterator[Item]:
    """Texts (one str counts as one) with their places; anything a tokenizer cannot read is an error that names the place."""
    if isinstance(texts, str):
        texts = [texts]
    unordered = isinstance(texts, bytes | bytearray | Mapping | Set)
    if unordered or not isinstance(texts, Iterable) or getattr(texts, "ndim", 1) != 1:
        raise TypeError(f"{name}s must be a str or a one-dimensional iterable of str in order, got {type(texts).__name__}")
    for position, text in enumerate(texts):
        yield Item(position, check_text(text, f"{name} {position}"))


def read_spans(texts: Iterable[str], spans: Iterable[Iterable[Span]]) -> list[Item]:
    """Documents with their character spans; the wrong number of lists or a span outside its text is an error."""
    for name, given in (("texts", texts), ("spans", spans)):
        _check_list(given, name, "encode_spans([text], [[(start, stop), ...]])")
    items, lists = list(read_texts(texts, "document")), list(spans)
    if len(items) != len(lists):
        raise ValueError(f"{len(items)} texts came with {len(lists)} lists of spans, one for each text is needed")
    for item, own in zip(items, lists, strict=True):
        _check_list(own, f"spans[{item.position}]", "[(start, stop), ...]")
    return [
        item._replace(spans=check_spans(own, item.text, f"document {item.position}"))
        for item, own in zip(items, lists, strict=True)
    ]


def read_spanned(documents: Iterable[tuple[str, Iterable[Span]]]) -> Iterator[Item]:
    """(text, spans) pairs one by one with their places, checked as in `read_spans`."""
    _check_list(documents, "documents", "encode_spans_iter([(text, [(start, stop), ...]), ...])")
    for position, pair in enumerate(documents):
        where = f"document {position}"
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(f"{where} is {type(pair).__name__}, a pair of a text and a list of spans was expected")
        text, spans = check_text(pair[0], where), pair[1]
        _check_list(spans, f"the second part of {where}", "[(start, stop), ...]")
        yield Item(position, text, check_spans(spans, text, where))


def read_chunks(documents: Iterable[Iterable[str]]) -> list[Item]:
    """Documents given as lists of chunk texts, each joined by a space, with the span of every chunk."""
    fix = "encode_chunks([[chunk, chunk], ...])"
    _check_list(documents, "documents", fix)
    items = []
    for position, chunks in enumerate(documents):
        _check_list(chunks, f"document {position}", fix)
        texts = [chunk.text for chunk in read_texts(chunks, f"document {position}, chunk")]
        items.append(Item(position, *join_chunks(texts, f"document {position}, ")))
    return items


def _check_list(given: object, name: str, fix: str) -> None:
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise TypeError(f"{name} is {type(given).__name__}, a list was expected: {fix}")


def check_text(text: object, where: str) -> str:
    """A text that a tokenizer can read, or an error that names where it stands."""
    if not isinstance(text, str):
        raise TypeError(f"{where} is {type(text).__name__}, a str was expected")
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{where} has a lone surrogate at character {error.start}, which is no text: "
            "clean it with text.encode('utf-8', 'replace').decode()"
        ) from None
    return text
