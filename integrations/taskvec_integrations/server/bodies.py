"""The bodies of requests in each dialect, and what they ask for. Unknown fields are errors: a misspelt one would be ignored.

Sources: Jina's and OpenAI's embedding APIs, Text Embeddings Inference, Pinecone's inference API, Jina's SageMaker samples.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema, model_validator

from taskvec import Task
from taskvec.integration import DOCUMENT_TASK
from taskvec_integrations.server.model_names import SUFFIXES
from taskvec_integrations.server.request import BARE, FORMATS, Call

TOKEN_IDS = (
    "is token ids of another model's tokenizer, which say nothing here: have the client send text "
    "(check_embedding_ctx_length=False in LangChain's OpenAIEmbeddings)"
)

MOST = 2**16
"""Texts that are looked at one by one; max_inputs, which is less, is held to later."""
WIDTH_PROBE = [""]
"""How pymilvus.model asks for a model's width: the one request in which an empty text is meant."""


def read_texts(given: object) -> list[str]:
    """The texts of a request: a text, {"text": ...}, or a list of either; ValueError with the place of what is neither."""
    items = given if isinstance(given, list) else [given]
    if not items:
        raise ValueError("it is empty: send at least one text")
    if len(items) > MOST:
        raise ValueError(f"it has {len(items)} texts: send them in parts")
    if items == given == WIDTH_PROBE:
        return [""]
    return [_text(item, f"item {place}" if isinstance(given, list) else "it") for place, item in enumerate(items)]


def _text(item: object, where: str) -> str:
    text = item["text"] if isinstance(item, Mapping) and [*item] == ["text"] else item
    if isinstance(text, int | list) and not isinstance(text, bool):
        raise ValueError(f"{where} {TOKEN_IDS}")
    if not isinstance(text, str):
        raise ValueError(f"{where} is {type(item).__name__}: a string, or an object with one string called text, was expected")
    if not text:
        raise ValueError(f"{where} is an empty text, which has no meaning to embed: leave it out")
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


def _whole(given: object) -> object:
    return int(given) if isinstance(given, float) and given.is_integer() else given


Dimensions = Annotated[
    Annotated[int, Field(ge=1, le=2**31)] | None,
    BeforeValidator(_whole),  # JSON has one kind of number, and some clients write 8.0
    Field(description="1 to the model's width; all of it by default"),
]
TaskName = Annotated[str | None, Field(max_length=64, json_schema_extra={"enum": [*map(str, Task), BARE, None]})]


def _formats(given: object) -> object:
    return [given] if isinstance(given, str) else given


Name = Annotated[str, Field(max_length=256, examples=["jina-embeddings-v3", "jina-embeddings-v3:query"])]
Format = Literal["float", "base64", "binary", "ubinary"]
Formats = Annotated[
    Annotated[list[Format], Field(min_length=1, max_length=len(FORMATS))] | None,
    BeforeValidator(_formats),
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
    def _known_fields(cls, given: Any) -> Any:
        """One error for all unknown fields: a body may have a million of them."""
        if isinstance(given, Mapping) and (unknown := next((name for name in given if name not in cls.model_fields), None)):
            raise ValueError(f"there is no field {unknown[:60]!r}: look for its spelling at /docs")
        return given


class EmbeddingsBody(_Body):
    """POST /v1/embeddings, Jina's dialect and OpenAI's in one."""

    FORMAT_NAMES: ClassVar = ("embedding_type", "encoding_format", "encoding_type")

    model: Name
    input: Texts
    task: TaskName = None
    dimensions: Dimensions = None
    late_chunking: bool | None = None
    late_chunking_windows: bool = Field(False, description="Read chunks beyond the context in overlapping windows.")
    truncate: bool | None = Field(None, description="Cut texts at the context; refused by default.")
    normalized: bool | None = Field(None, description="Unit length, the default.")
    embedding_type: Formats = None
    encoding_format: Formats = None
    encoding_type: Formats = None
    user: str | None = None

    @model_validator(mode="after")
    def _one_format(self) -> "EmbeddingsBody":
        given = {name: value for name in self.FORMAT_NAMES if (value := getattr(self, name)) is not None}
        if len({tuple(value) for value in given.values()}) > 1:
            raise ValueError(f"{' and '.join(f'{name} {value}' for name, value in given.items())} disagree: give one of them")
        return self

    def call(self) -> Call:
        """What it asks for."""
        formats = next((value for name in self.FORMAT_NAMES if (value := getattr(self, name))), ["float"])
        return Call(
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
    """POST / and /embed as Text Embeddings Inference has them; task and late_chunking are ours."""

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
            raise ValueError(f"prompt_name {self.prompt_name!r} and task {self.task!r} both choose the task: give one of them")
        return self

    def call(self) -> Call:
        """What it asks for."""
        return Call(
            texts=self.inputs,
            task=SUFFIXES[self.prompt_name] if self.prompt_name is not None else self.task,
            dimensions=self.dimensions,
            late_chunking=self.late_chunking,
            truncate=bool(self.truncate),
            normalize=self.normalize is not False,
        )


class PineconeParameters(_Body):
    """`parameters` of Pinecone's inference API; task and late_chunking are ours."""

    input_type: Literal["passage", "query"] | None = None
    truncate: Literal["END", "NONE"] = "END"
    dimension: Dimensions = None
    task: TaskName = None
    late_chunking: bool = False

    @model_validator(mode="after")
    def _one_task(self) -> "PineconeParameters":
        if self.input_type is not None and self.task is not None:
            raise ValueError(f"input_type {self.input_type!r} and task {self.task!r} both choose the task: give one of them")
        return self


class PineconeBody(_Body):
    """POST /embed as Pinecone's inference API has it, told from TEI's by `model`."""

    model: Name
    inputs: Texts
    parameters: PineconeParameters = Field(default_factory=PineconeParameters)

    def call(self) -> Call:
        """What it asks for."""
        asked = self.parameters
        return Call(
            texts=self.inputs,
            model=self.model,
            task=asked.task if asked.input_type is None else SUFFIXES[asked.input_type],
            default=DOCUMENT_TASK,
            dimensions=asked.dimension,
            late_chunking=asked.late_chunking,
            truncate=asked.truncate == "END",
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

    def call(self) -> Call:
        """What it asks for."""
        asked = EmbeddingsBody.model_construct(model="", input=self.data, **self.parameters.model_dump(exclude_none=True)).call()
        return Call(**{**vars(asked), "model": None})


def _embed_kind(body: Any) -> str:
    return "pinecone" if isinstance(body, Mapping) and "model" in body else "tei"


def _scoring_kind(body: Any) -> str:
    return "jina" if isinstance(body, Mapping) and "input" in body else "scoring"


EmbedBody = Annotated[Annotated[PineconeBody, Tag("pinecone")] | Annotated[TeiBody, Tag("tei")], Discriminator(_embed_kind)]
"""POST /embed is TEI's and Pinecone's: a body that names a model is Pinecone's."""
InvocationBody = Annotated[
    Annotated[EmbeddingsBody, Tag("jina")] | Annotated[ScoringBody, Tag("scoring")], Discriminator(_scoring_kind)
]
"""POST /invocations takes the samples' body and, where it has `input`, that of /v1/embeddings."""
