"""The bodies of requests in each dialect. An unknown field is an error, because a misspelled field would be ignored.

Sources: Jina's and OpenAI's embedding APIs, Text Embeddings Inference, Pinecone's inference API, Jina's SageMaker samples.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema, model_validator

from taskvec import Task
from taskvec.integration import DOCUMENT_TASK
from taskvec_integrations.server.model_names import SUFFIXES
from taskvec_integrations.server.request import BARE_MODEL, FORMATS, EmbedRequest

TOKEN_IDS = (
    "has token ids of another model's tokenizer, which this model cannot read: have the client send text "
    "(check_embedding_ctx_length=False in LangChain's OpenAIEmbeddings)"
)

MAX_CHECKED_TEXTS = 2**16
"""Larger requests are refused unread; the service checks max_inputs, which is usually smaller."""
WIDTH_PROBE = [""]
"""How pymilvus.model asks for a model's width: the only request that may hold an empty text."""


def read_texts(value: object) -> list[str]:
    """The texts of a request.

    Args:
        value: A text, {"text": ...}, or a list of either.

    Raises:
        ValueError: Something in it is not a text; the message says where.
    """
    items = value if isinstance(value, list) else [value]
    if not items:
        raise ValueError("it is empty: send at least one text")
    if len(items) > MAX_CHECKED_TEXTS:
        raise ValueError(f"it has {len(items)} texts, the limit is {MAX_CHECKED_TEXTS}: send them in several requests")
    if items == value == WIDTH_PROBE:
        return [""]
    return [_text(item, f"item {place}" if isinstance(value, list) else "it") for place, item in enumerate(items)]


def _text(item: object, where: str) -> str:
    text = item["text"] if isinstance(item, Mapping) and [*item] == ["text"] else item
    if isinstance(text, int | list) and not isinstance(text, bool):
        raise ValueError(f"{where} {TOKEN_IDS}")
    if not isinstance(text, str):
        raise ValueError(
            f"{where} is of type {type(item).__name__}: send a string, or an object whose only field, text, is a string"
        )
    if not text:
        raise ValueError(f"{where} is an empty text: leave it out")
    return text


_ITEM = {
    "type": "object",
    "properties": {"text": {"type": "string", "minLength": 1}},
    "required": ["text"],
    "additionalProperties": False,
}
_TEXT = {"anyOf": [{"type": "string", "minLength": 1}, _ITEM]}
Texts = Annotated[
    list[str],
    BeforeValidator(read_texts),
    WithJsonSchema({"anyOf": [*_TEXT["anyOf"], {"type": "array", "items": _TEXT, "minItems": 1}, {"const": WIDTH_PROBE}]}),
]


def _to_int(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Dimensions = Annotated[
    Annotated[int, Field(ge=1, le=2**31)] | None,
    BeforeValidator(_to_int),  # JSON has one kind of number, and some clients write 8.0
    Field(description="1 to the model's width, which is the default."),
]
TaskName = Annotated[str | None, Field(max_length=64, json_schema_extra={"enum": [*map(str, Task), BARE_MODEL, None]})]


def _to_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Name = Annotated[str, Field(max_length=256, examples=["jina-embeddings-v3", "jina-embeddings-v3:query"])]
Format = Literal["float", "base64", "binary", "ubinary"]
Formats = Annotated[
    Annotated[list[Format], Field(min_length=1, max_length=len(FORMATS))] | None,
    BeforeValidator(_to_list),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": [*FORMATS]},
                {"type": "array", "items": {"enum": [*FORMATS]}, "minItems": 1},
                {"type": "null"},
            ]
        }
    ),
]


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _check_fields(cls, body: Any) -> Any:
        """Refuse the first unknown field only: a body may have a million of them."""
        if isinstance(body, Mapping) and (unknown := next((name for name in body if name not in cls.model_fields), None)):
            raise ValueError(f"there is no field {unknown[:60]!r}: see /docs for the fields")
        return body


class EmbeddingsBody(_Body):
    """POST /v1/embeddings, in Jina's dialect and OpenAI's."""

    FORMAT_NAMES: ClassVar = ("embedding_type", "encoding_format", "encoding_type")

    model: Name
    input: Texts
    task: TaskName = None
    dimensions: Dimensions = None
    late_chunking: bool | None = None
    late_chunking_windows: bool = Field(False, description="Read chunks beyond the context in overlapping windows.")
    truncate: bool | None = Field(None, description="Cut texts that are longer than the context. By default they are refused.")
    normalized: bool | None = Field(None, description="Vectors of unit length, the default.")
    embedding_type: Formats = None
    encoding_format: Formats = None
    encoding_type: Formats = None
    user: str | None = None

    @model_validator(mode="after")
    def _one_format(self) -> "EmbeddingsBody":
        formats = {name: value for name in self.FORMAT_NAMES if (value := getattr(self, name)) is not None}
        if len({tuple(value) for value in formats.values()}) > 1:
            raise ValueError(f"{' and '.join(f'{name} {value}' for name, value in formats.items())} disagree: send one of them")
        return self

    def to_request(self) -> EmbedRequest:
        """The request in the encoder's words."""
        formats = next((value for name in self.FORMAT_NAMES if (value := getattr(self, name))), ["float"])
        return EmbedRequest(
            texts=self.input,
            model=self.model,
            task=self.task,
            dimensions=self.dimensions,
            late_chunking=bool(self.late_chunking),
            windows=self.late_chunking_windows,
            truncate=bool(self.truncate),
            normalize=self.normalized is not False,
            formats=tuple(dict.fromkeys(formats)),
        )


class TeiBody(_Body):
    """POST / and /embed as Text Embeddings Inference has them; task and late_chunking are additions."""

    inputs: Texts
    prompt_name: Annotated[str | None, Field(max_length=64, json_schema_extra={"enum": [*SUFFIXES, None]})] = None
    task: TaskName = None
    dimensions: Dimensions = None
    late_chunking: bool = False
    normalize: bool | None = None
    truncate: bool | None = None
    truncation_direction: Literal["right", "Right"] | None = Field(None, description="Texts are cut at their end.")

    @model_validator(mode="after")
    def _known_prompt(self) -> "TeiBody":
        if self.prompt_name is not None and self.prompt_name not in SUFFIXES:
            raise ValueError(f"prompt_name is {self.prompt_name!r}: use one of {', '.join(SUFFIXES)}")
        if self.prompt_name is not None and self.task is not None:
            raise ValueError(f"prompt_name {self.prompt_name!r} and task {self.task!r} both choose the task: send one of them")
        return self

    def to_request(self) -> EmbedRequest:
        """The request in the encoder's words."""
        return EmbedRequest(
            texts=self.inputs,
            task=SUFFIXES[self.prompt_name] if self.prompt_name is not None else self.task,
            dimensions=self.dimensions,
            late_chunking=self.late_chunking,
            truncate=bool(self.truncate),
            normalize=self.normalize is not False,
        )


class PineconeParameters(_Body):
    """`parameters` of Pinecone's inference API; task and late_chunking are additions."""

    input_type: Literal["passage", "query"] | None = None
    truncate: Literal["END", "NONE"] = "END"
    dimension: Dimensions = None
    task: TaskName = None
    late_chunking: bool = False

    @model_validator(mode="after")
    def _one_task(self) -> "PineconeParameters":
        if self.input_type is not None and self.task is not None:
            raise ValueError(f"input_type {self.input_type!r} and task {self.task!r} both choose the task: send one of them")
        return self


class PineconeBody(_Body):
    """POST /embed as Pinecone's inference API has it; only its bodies have `model`."""

    model: Name
    inputs: Texts
    parameters: PineconeParameters = Field(default_factory=PineconeParameters)

    def to_request(self) -> EmbedRequest:
        """The request in the encoder's words."""
        parameters = self.parameters
        return EmbedRequest(
            texts=self.inputs,
            model=self.model,
            task=parameters.task if parameters.input_type is None else SUFFIXES[parameters.input_type],
            default_task=DOCUMENT_TASK,
            dimensions=parameters.dimension,
            late_chunking=parameters.late_chunking,
            truncate=parameters.truncate == "END",
        )


class ScoringParameters(_Body):
    """`parameters` of Jina's samples for SageMaker."""

    task: TaskName = None
    dimensions: Dimensions = None
    late_chunking: bool | None = None
    late_chunking_windows: bool = False
    truncate: bool | None = None
    normalized: bool | None = None
    embedding_type: Formats = None


class ScoringBody(_Body):
    """POST /invocations (SageMaker) and /score (Azure ML)."""

    data: Texts
    parameters: ScoringParameters = Field(default_factory=ScoringParameters)

    def to_request(self) -> EmbedRequest:
        """The request in the encoder's words."""
        parameters = self.parameters.model_dump(exclude_none=True)
        body = EmbeddingsBody.model_construct(model="", input=self.data, **parameters)
        return replace(body.to_request(), model=None)


def _embed_dialect(body: Any) -> str:
    return "pinecone" if isinstance(body, Mapping) and "model" in body else "tei"


def _scoring_dialect(body: Any) -> str:
    return "jina" if isinstance(body, Mapping) and "input" in body else "scoring"


EmbedBody = Annotated[Annotated[PineconeBody, Tag("pinecone")] | Annotated[TeiBody, Tag("tei")], Discriminator(_embed_dialect)]
"""The body of POST /embed: Pinecone's if it names a model, else that of Text Embeddings Inference."""
InvocationBody = Annotated[
    Annotated[EmbeddingsBody, Tag("jina")] | Annotated[ScoringBody, Tag("scoring")], Discriminator(_scoring_dialect)
]
"""The body of POST /invocations: that of /v1/embeddings if it has `input`, else that of Jina's samples."""
