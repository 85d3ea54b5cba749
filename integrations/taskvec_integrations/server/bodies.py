"""The bodies of requests in each dialect. An unknown field is an error, because a misspelled field would be ignored.

Sources: Jina's and OpenAI's embedding APIs, Text Embeddings Inference, Pinecone's inference API, Jina's SageMaker samples.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from taskvec.integration import DOCUMENT_TASK
from taskvec_integrations.server.fields import Dimensions, Formats, ModelName, TaskName, Texts
from taskvec_integrations.server.model_names import SUFFIXES
from taskvec_integrations.server.request import EmbedRequest


class _StrictBody(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _check_fields(cls, body: Any) -> Any:
        """Refuse the first unknown field only: a body may have a million of them."""
        if isinstance(body, Mapping) and (unknown := next((name for name in body if name not in cls.model_fields), None)):
            raise ValueError(f"there is no field {unknown[:60]!r}: see /docs for the fields")
        return body


class EmbeddingsBody(_StrictBody):
    """POST /v1/embeddings, in Jina's dialect and OpenAI's."""

    FORMAT_NAMES: ClassVar = ("embedding_type", "encoding_format", "encoding_type")

    model: ModelName
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


class TeiBody(_StrictBody):
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


class PineconeParameters(_StrictBody):
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


class PineconeBody(_StrictBody):
    """POST /embed as Pinecone's inference API has it; only its bodies have `model`."""

    model: ModelName
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


class ScoringParameters(_StrictBody):
    """`parameters` of Jina's samples for SageMaker."""

    task: TaskName = None
    dimensions: Dimensions = None
    late_chunking: bool | None = None
    late_chunking_windows: bool = False
    truncate: bool | None = None
    normalized: bool | None = None
    embedding_type: Formats = None


class ScoringBody(_StrictBody):
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
