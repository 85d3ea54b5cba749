"""What a client is told when a request fails: one sentence, in every shape that clients of any dialect look for.

`detail` is Jina's, `error` with message, type and code is OpenAI's; 422 adds `errors`, where the fields are. Texts are never
repeated.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from taskvec_integrations.server.model_names import UnknownModelError
from taskvec_integrations.server.queue import OverloadedError

KINDS = {
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "unavailable_error",
}
"""OpenAI's types of errors; anything else is invalid_request_error."""
SHOWN, LISTED = 3, 20
"""Wrong fields that the sentence names, and that `errors` has at most."""


def refuse(status: int, message: str, headers: Mapping[str, str] | None = None, errors: Sequence[Any] = ()) -> Response:
    """An answer that says what is wrong."""
    kind = KINDS.get(status, "invalid_request_error")
    body: dict[str, Any] = {"detail": message, "error": {"message": message, "type": kind, "param": None, "code": status}}
    if status == 422:
        body["errors"] = errors
    return Response(orjson.dumps(body), status, headers, "application/json")


async def on_validation(request: Request, error: Exception) -> Response:
    """422 for a body that is not what the dialect asks for."""
    assert isinstance(error, RequestValidationError)
    found = [{"loc": [*map(str, e["loc"])], "msg": _message(e), "type": e["type"]} for e in error.errors()[:LISTED]]
    parts = [f"{_field(e['loc'])}: {e['msg']}" for e in found[:SHOWN]]
    kind = request.headers.get("content-type", "").partition(";")[0]
    if kind != "application/json" and not kind.endswith("+json"):
        parts = [f"the body is {kind or 'of no type'}: send JSON with the header Content-Type: application/json"]
    more = f" (and {len(found) - SHOWN} more)" if len(found) > SHOWN else ""
    return refuse(422, "; ".join(parts) + more, errors=found)


async def on_value(request: Request, error: Exception) -> Response:
    """422 for values that the encoder cannot serve."""
    return refuse(422, str(error), errors=[{"loc": ["body"], "msg": str(error), "type": "value_error"}])


async def on_unknown_model(request: Request, error: Exception) -> Response:
    """404 for a model that is not served."""
    return refuse(404, str(error.args[0]))


async def on_overload(request: Request, error: Exception) -> Response:
    """429 where too much waits, with the seconds until it may be tried again."""
    assert isinstance(error, OverloadedError)
    return refuse(error.status, str(error), {"Retry-After": str(error.retry_after)})


async def on_http(request: Request, error: Exception) -> Response:
    """What the framework refuses: unknown paths and methods, bodies that are no JSON."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 405:  # routes know only their own method, and GET / and POST / are two
        methods = request.app.openapi()["paths"].get(request.url.path, {})
        headers["Allow"] = ", ".join(map(str.upper, methods)) or headers.get("Allow", "")
    return refuse(error.status_code, str(error.detail), headers)


def failed() -> Response:
    """500 without details, which are in the log under the request's id."""
    return refuse(500, "the server failed; its log says why under this answer's X-Request-ID")


HANDLERS: dict[Any, Any] = {
    RequestValidationError: on_validation,
    UnknownModelError: on_unknown_model,
    OverloadedError: on_overload,
    HTTPException: on_http,
    ValueError: on_value,
}


def _field(loc: Sequence[str]) -> str:
    """Where it is wrong, as the client wrote it: without `body` and the name of the dialect."""
    path = [part for part in loc if part not in ("body", "pinecone", "tei", "jina", "scoring")]
    return ".".join(path) or "body"


MESSAGES = {
    "missing": "it is missing",
    "json_invalid": "the body is no JSON",
}


def _message(error: Mapping[str, Any]) -> str:
    """What is wrong, with the value where it is a short one."""
    text = MESSAGES.get(error["type"], error["msg"].removeprefix("Value error, "))
    given = error.get("input")
    short = isinstance(given, bool | int | float | str) and len(repr(given)) <= 40
    return f"it is {given!r}: {text}" if short and error["type"] not in (*MESSAGES, "value_error") else text
