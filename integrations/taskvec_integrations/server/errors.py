"""Error responses: one sentence in every field where clients of any dialect look for it.

`detail` is Jina's, `error` with message, type and code is OpenAI's. 422 adds `errors`, which says where the wrong fields are. A
response never repeats texts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from taskvec_integrations.server.model_names import UnknownModelError
from taskvec_integrations.server.queue import OverloadedError

ERROR_TYPES = {
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "unavailable_error",
}
"""OpenAI's error types by status; any other status is invalid_request_error."""
MAX_MESSAGE_FIELDS = 3
"""Wrong fields that the sentence names."""
MAX_LISTED_FIELDS = 20
"""Wrong fields that `errors` lists."""
MAX_SHOWN_CHARACTERS = 40
"""Longer values are not shown."""


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None, errors: Sequence[Any] = ()) -> Response:
    """An error response.

    Args:
        status: The HTTP status.
        message: One sentence: what is wrong, and what to do.
        headers: Headers to add.
        errors: The wrong fields, only for status 422.
    """
    kind = ERROR_TYPES.get(status, "invalid_request_error")
    body: dict[str, Any] = {"detail": message, "error": {"message": message, "type": kind, "param": None, "code": status}}
    if status == 422:
        body["errors"] = errors
    return Response(orjson.dumps(body), status, headers, "application/json")


def internal_error() -> Response:
    """500 without details; the log has them under the request's id."""
    return error_response(500, "the server failed: its log has the reason under the X-Request-ID of this response")


async def on_validation_error(request: Request, error: Exception) -> Response:
    """422 for a body that is not what the dialect asks for."""
    assert isinstance(error, RequestValidationError)
    found = [{"loc": [*map(str, e["loc"])], "msg": _message(e), "type": e["type"]} for e in error.errors()[:MAX_LISTED_FIELDS]]
    parts = [f"{_field(e['loc'])}: {e['msg']}" for e in found[:MAX_MESSAGE_FIELDS]]
    content_type = request.headers.get("content-type", "").partition(";")[0]
    if content_type != "application/json" and not content_type.endswith("+json"):
        sent = f"the Content-Type is {content_type}" if content_type else "there is no Content-Type"
        parts = [f"{sent}: send JSON with the header Content-Type: application/json"]
    more = f" (and {len(found) - MAX_MESSAGE_FIELDS} more)" if len(found) > MAX_MESSAGE_FIELDS else ""
    return error_response(422, "; ".join(parts) + more, errors=found)


async def on_value_error(request: Request, error: Exception) -> Response:
    """422 for values that the encoder cannot serve."""
    return error_response(422, str(error), errors=[{"loc": ["body"], "msg": str(error), "type": "value_error"}])


async def on_unknown_model(request: Request, error: Exception) -> Response:
    """404 for a model that is not served."""
    return error_response(404, str(error.args[0]))


async def on_overload(request: Request, error: Exception) -> Response:
    """429 where too much waits, with the seconds after which the client should try again."""
    assert isinstance(error, OverloadedError)
    return error_response(error.status, str(error), {"Retry-After": str(error.retry_after)})


async def on_http_error(request: Request, error: Exception) -> Response:
    """What the framework refuses: unknown paths and methods, bodies that cannot be read."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 405:  # each route knows its own method only, and GET / and POST / are two routes
        methods = request.app.openapi()["paths"].get(request.url.path, {})
        headers["Allow"] = ", ".join(map(str.upper, methods)) or headers.get("Allow", "")
    return error_response(error.status_code, str(error.detail), headers)


HANDLERS: dict[Any, Any] = {
    RequestValidationError: on_validation_error,
    UnknownModelError: on_unknown_model,
    OverloadedError: on_overload,
    HTTPException: on_http_error,
    ValueError: on_value_error,
}


def _field(loc: Sequence[str]) -> str:
    """The field as the client wrote it: without `body` and the name of the dialect."""
    path = [part for part in loc if part not in ("body", "pinecone", "tei", "jina", "scoring")]
    return ".".join(path) or "body"


MESSAGES = {
    "missing": "it is missing",
    "json_invalid": "the body is not JSON",
}
"""Sentences for pydantic's kinds of error whose own sentence is not clear."""


def _message(error: Mapping[str, Any]) -> str:
    """What is wrong, with the value where it is short."""
    text = MESSAGES.get(error["type"], error["msg"].removeprefix("Value error, "))
    value = error.get("input")
    short = isinstance(value, bool | int | float | str) and len(repr(value)) <= MAX_SHOWN_CHARACTERS
    return f"it is {value!r}: {text}" if short and error["type"] not in (*MESSAGES, "value_error") else text
