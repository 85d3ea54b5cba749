"""The options of a Document of our models: their names, what goes with what, and which Document a mistake is in."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from numbers import Integral
from typing import Literal, Self

from qdrant_client.models import Document, Image

from taskvec import Task
from taskvec_integrations.ingestion.chunking import check_chunk_tokens
from taskvec_integrations.qdrant.find_documents import Inference
from taskvec_integrations.task_choice import TaskChoice

Operation = Literal["document", "query"]

QUOTED = 40  # characters of a text in an error message


@dataclass(frozen=True)
class DocumentOptions:
    """What `Document.options` may hold for our models.

    task: one of the five, None for the bare model, "auto" for the operation's own. dimensions: cut to these, then normalised.
    late_chunking: the Document is a chunk of one document with its neighbours; True by itself where one of the following is
    given. document_id: which document that is (without it, one call is one document). spans: character ranges of a whole text,
    or chunk_tokens: split it into chunks of at most so many tokens; either makes a multivector, one row for each chunk.
    """

    task: TaskChoice = "auto"
    dimensions: int | None = None
    late_chunking: bool | None = None
    document_id: str | int | None = None
    spans: Sequence[Sequence[int]] | None = None
    chunk_tokens: int | None = None

    def __post_init__(self) -> None:
        self.task_or(None)
        _check_type("late_chunking", self.late_chunking, bool, "True or False")
        _check_type("dimensions", self.dimensions, Integral, "a whole number")
        _check_type("document_id", self.document_id, (str, Integral), "a str or a whole number")
        _check_type("spans", self.spans, (list, tuple), "a list of (start, stop)")
        check_chunk_tokens(self.chunk_tokens)
        if self.spans is not None and self.chunk_tokens is not None:
            raise ValueError("spans and chunk_tokens both say where the chunks are: give one of them")
        if self.whole_text and self.document_id is not None:
            raise ValueError(
                "document_id joins the chunks of several points, spans and chunk_tokens cut one text: give one of them"
            )
        if self.whole_text and self.late_chunking is False:
            raise ValueError(
                "spans and chunk_tokens are late chunking, which late_chunking=False rules out: leave one of them out"
            )

    def task_or(self, default: Task | None) -> Task | None:
        """The task that was asked for, or the default; an unknown one is a ValueError that lists the five."""
        return default if self.task == "auto" else None if self.task is None else Task(self.task)

    @property
    def whole_text(self) -> bool:
        """Whether the Document is a whole text that becomes a multivector."""
        return self.spans is not None or self.chunk_tokens is not None

    @property
    def joined(self) -> bool:
        """Whether the Document is a chunk that shares the context of its neighbours."""
        return self.document_id is not None if self.late_chunking is None else self.late_chunking and not self.whole_text

    @classmethod
    def read(cls, document: Inference, operation: Operation) -> Self:
        """The checked options of a Document in a document or a query; what is wrong is an error that quotes its text."""
        given = dict(document.options or {})
        known = [field.name for field in fields(cls)]
        unknown = [name for name in given if name not in known]
        if unknown:
            raise ValueError(f"{quote(document)} has the unknown option {unknown[0]!r}: the options are {', '.join(known)}")
        try:
            options = cls(**given)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{quote(document)}: {error}") from None
        if operation == "query" and options.document_id is not None:
            raise ValueError(f"{quote(document)}: document_id joins chunks that are stored, a query has none: leave it out")
        # A query is a document of one chunk, whose vector is the plain one; queries of a batch share nothing.
        return replace(options, late_chunking=False) if operation == "query" and options.joined else options


def text_of(document: Inference) -> str:
    """The text of a Document, or of an InferenceObject with a str in it; anything else is a TypeError."""
    text = _content(document)
    if isinstance(document, Image) or not isinstance(text, str):
        held = "an image" if isinstance(document, Image) else type(text).__name__
        raise TypeError(f"{quote(document)} holds {held}: {document.model} embeds text, a Document or a str was expected")
    return text


def quote(document: Inference) -> str:
    """A Document as error messages show it: the beginning of its text, and its model."""
    text = str(_content(document))
    start = text if len(text) <= QUOTED else f"{text[:QUOTED]}…"
    return f"{type(document).__name__}({start!r}, model={document.model!r})"


def _content(document: Inference) -> object:
    if isinstance(document, Document):
        return document.text
    return document.image if isinstance(document, Image) else document.object


def _check_type(name: str, value: object, expected: type | tuple[type, ...], words: str) -> None:
    wrong_bool = isinstance(value, bool) and expected is not bool
    if value is not None and (wrong_bool or not isinstance(value, expected)):
        raise TypeError(f"{name} is {value!r}: {words} was expected")
