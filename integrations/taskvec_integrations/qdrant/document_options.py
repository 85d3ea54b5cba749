"""The options of a Document of our models: their names, what goes with what, and which Document a mistake is in."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from numbers import Integral
from typing import Literal, Self

from qdrant_client.models import Document, Image

from taskvec_integrations.ingestion.chunking import check_chunk_tokens
from taskvec_integrations.qdrant.find_documents import Inference
from taskvec_integrations.task_choice import TaskChoice, choose_task

Operation = Literal["document", "query"]

MAX_QUOTED_CHARACTERS = 40
"""The most of a text that an error message quotes."""


@dataclass(frozen=True)
class DocumentOptions:
    """What `Document.options` may hold for our models.

    Args:
        task: see `TaskChoice`; "auto" is the client's task for documents or for queries.
        dimensions: cut the vector to so many and normalize it. None keeps the model's full width.
        late_chunking: whether the Document is a chunk that shares its document's context. None is True where one of the
            arguments below is set.
        document_id: the document that the chunk is part of. Without it, the chunks of one call are one document.
        spans: (start, stop) character ranges of the chunks of a whole text, which becomes a multivector with a row for each.
        chunk_tokens: split a whole text into chunks of at most so many tokens instead of naming their `spans`.

    Raises:
        TypeError: an option has the wrong type.
        ValueError: a value is out of range, or two options contradict each other.
    """

    task: TaskChoice = "auto"
    dimensions: int | None = None
    late_chunking: bool | None = None
    document_id: str | int | None = None
    spans: Sequence[Sequence[int]] | None = None
    chunk_tokens: int | None = None

    def __post_init__(self) -> None:
        choose_task(self.task, None)
        _check_type("late_chunking", self.late_chunking, bool, "True or False")
        _check_type("dimensions", self.dimensions, Integral, "a whole number")
        _check_type("document_id", self.document_id, (str, Integral), "a str or a whole number")
        _check_type("spans", self.spans, (list, tuple), "a list of (start, stop)")
        check_chunk_tokens(self.chunk_tokens)
        if self.spans is not None and self.chunk_tokens is not None:
            raise ValueError("spans and chunk_tokens both say where the chunks are: pass one of them")
        if self.is_whole_text and self.document_id is not None:
            raise ValueError(
                "document_id joins the chunks of several points, while spans and chunk_tokens cut one text: pass one of the two"
            )
        if self.is_whole_text and self.late_chunking is False:
            raise ValueError(
                "spans and chunk_tokens need late chunking, which late_chunking=False rules out: leave one of them out"
            )

    @property
    def is_whole_text(self) -> bool:
        """Whether the Document is a whole text that becomes a multivector."""
        return self.spans is not None or self.chunk_tokens is not None

    @property
    def shares_context(self) -> bool:
        """Whether the Document is a chunk that shares the context of its neighbours."""
        if self.late_chunking is None:
            return self.document_id is not None
        return self.late_chunking and not self.is_whole_text

    @classmethod
    def from_document(cls, document: Inference, operation: Operation) -> Self:
        """The checked options of a Document that is stored or searched for.

        Raises:
            TypeError: an option has the wrong type.
            ValueError: an option is unknown, wrong, or not for queries. Both errors quote the text of the Document.
        """
        arguments = dict(document.options or {})
        known = [field.name for field in fields(cls)]
        unknown = [name for name in arguments if name not in known]
        if unknown:
            raise ValueError(f"{quote(document)} has the unknown option {unknown[0]!r}: the options are {', '.join(known)}")
        try:
            options = cls(**arguments)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{quote(document)}: {error}") from None
        if operation == "query" and options.document_id is not None:
            raise ValueError(f"{quote(document)}: document_id joins chunks that are stored, and a query has none: leave it out")
        # A query is a document of one chunk, whose vector is the plain one; queries of a batch share nothing.
        return replace(options, late_chunking=False) if operation == "query" and options.shares_context else options


def text_of(document: Inference) -> str:
    """The text of a Document, or of an InferenceObject with a str in it; anything else is a TypeError."""
    text = _content(document)
    if isinstance(document, Image) or not isinstance(text, str):
        kind = "an image" if isinstance(document, Image) else type(text).__name__
        raise TypeError(f"{quote(document)} holds {kind}: {document.model} embeds text, so pass a Document or a str")
    return text


def quote(document: Inference) -> str:
    """A Document as error messages show it: the beginning of its text, and its model."""
    text = str(_content(document))
    start = text if len(text) <= MAX_QUOTED_CHARACTERS else f"{text[:MAX_QUOTED_CHARACTERS]}…"
    return f"{type(document).__name__}({start!r}, model={document.model!r})"


def _content(document: Inference) -> object:
    if isinstance(document, Document):
        return document.text
    return document.image if isinstance(document, Image) else document.object


def _check_type(name: str, value: object, expected: type | tuple[type, ...], description: str) -> None:
    wrong_bool = isinstance(value, bool) and expected is not bool
    if value is not None and (wrong_bool or not isinstance(value, expected)):
        raise TypeError(f"{name} is {value!r}: {description} was expected")
