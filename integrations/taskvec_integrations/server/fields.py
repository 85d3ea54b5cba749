"""The fields of requests that dialects share, with the checks of their values: texts, dimensions, task, model name, formats."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from taskvec import Task
from taskvec_integrations.server.request import BARE_MODEL, FORMATS

TOKEN_IDS = (
    "has token ids of another model's tokenizer, which this model cannot read: have the client send text "
    "(check_embedding_ctx_length=False in LangChain's OpenAIEmbeddings)"
)

MAX_CHECKED_TEXT_SCHEMAS = 2**16
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
    if len(items) > MAX_CHECKED_TEXT_SCHEMAS:
        raise ValueError(f"it has {len(items)} texts, the limit is {MAX_CHECKED_TEXT_SCHEMAS}: send them in several requests")
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


_OBJECT_SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string", "minLength": 1}},
    "required": ["text"],
    "additionalProperties": False,
}
_TEXT_SCHEMA = {"anyOf": [{"type": "string", "minLength": 1}, _OBJECT_SCHEMA]}
_TEXTS_SCHEMA = {"type": "array", "items": _TEXT_SCHEMA, "minItems": 1}
Texts = Annotated[
    list[str],
    BeforeValidator(read_texts),
    WithJsonSchema({"anyOf": [*_TEXT_SCHEMA["anyOf"], _TEXTS_SCHEMA, {"const": WIDTH_PROBE}]}),
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


ModelName = Annotated[str, Field(max_length=256, examples=["jina-embeddings-v3", "jina-embeddings-v3:query"])]
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
