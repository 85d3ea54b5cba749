"""What surrounds every route: request ids, keys, limits, clients that disconnect, metrics and the log.

Plain ASGI. Knows no dialect. A body is read before its route runs (limits.py), so that slow or endless bodies hold nothing up.
"""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers, MutableHeaders

from taskvec_integrations.server import pages
from taskvec_integrations.server.errors import error_response, internal_error
from taskvec_integrations.server.limits import (
    ClientDisconnectedError,
    Message,
    Receive,
    RefusedError,
    RequestBody,
    RequestLimits,
)
from taskvec_integrations.server.metrics import Metrics
from taskvec_integrations.server.settings import ServerSettings

Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PUBLIC_PATHS = {"/health", "/live", "/ready", "/ping", "/favicon.ico", *pages.PAGE_PATHS}
"""What needs no key: health, and pages that hold no data."""
METHODS_WITH_BODY = ("POST", "PUT", "PATCH")
REQUEST_ID = re.compile(r"[\w.:@/+=-]{1,128}", re.ASCII)
MAX_SEND_BYTES = 2**16
"""Larger responses are sent in parts: a client may read slowly, but it must take each part in time."""
CLIENT_CLOSED_REQUEST = 499
"""The status in logs and metrics of a request whose client disconnected, after nginx."""

log = logging.getLogger("taskvec.server")


@dataclass
class RequestRecord:
    """What the log and the metrics say of a request. Routes fill in `task`, `texts` and `tokens`."""

    id: str
    start: float = field(default_factory=time.monotonic)
    status: int = CLIENT_CLOSED_REQUEST
    task: str = ""
    texts: int = 0
    tokens: int = 0


class RequestMiddleware:
    """ASGI middleware that checks a request, reads its body, runs the app and logs the outcome."""

    def __init__(self, app: App, settings: ServerSettings, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._limits = RequestLimits(settings, metrics)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it; ASGI calls this."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        client_id = headers.get("x-request-id", "")
        record = RequestRecord(client_id if REQUEST_ID.fullmatch(client_id) else uuid.uuid4().hex)
        scope.setdefault("state", {})["record"] = record
        try:
            await self._handle(scope, headers, receive, _send_in_parts(send, record, self._settings.send_seconds), record)
        finally:
            self._log(scope, record)

    async def _handle(self, scope: Scope, headers: Headers, receive: Receive, send: Send, record: RequestRecord) -> None:
        body = RequestBody(self._limits, receive)
        try:
            self._check_key(scope, headers)
            if scope["method"] in METHODS_WITH_BODY:
                body.acquire()
                await body.read(headers.get("content-length"))
            await _run_until_disconnect(self._app, scope, body, send)
        except RefusedError as refused:
            await refused.response(scope, receive, send)
        except ClientDisconnectedError:
            pass
        except asyncio.CancelledError:  # the server stops, and this request takes longer than stopping may
            if record.status == CLIENT_CLOSED_REQUEST:
                message = "the server stopped before it could answer: send the request again"
                await error_response(503, message, {"Retry-After": "5"})(scope, receive, send)
            raise
        except Exception:
            log.exception("request %s failed", record.id)
            if record.status == CLIENT_CLOSED_REQUEST:
                await internal_error()(scope, receive, send)
        finally:
            body.release()

    def _check_key(self, scope: Scope, headers: Headers) -> None:
        is_public = scope["method"] in ("GET", "HEAD") and scope["path"] in PUBLIC_PATHS
        if is_public or not self._settings.api_keys:
            return
        scheme, _, token = headers.get("authorization", "").partition(" ")
        key = token.strip() if scheme.lower() == "bearer" else headers.get("api-key", "")
        if not self._settings.opens(key):
            problem = "the key is not one of this server's keys" if key else "this server needs a key"
            message = f"{problem}: send Authorization: Bearer KEY, or Api-Key: KEY"
            raise RefusedError(error_response(401, message, {"WWW-Authenticate": "Bearer"}))

    def _log(self, scope: Scope, record: RequestRecord) -> None:
        seconds = time.monotonic() - record.start
        route = getattr(scope.get("route"), "path", "none")
        self._metrics.observe_request(route, record.task, record.status, seconds, record.texts)
        quiet = route in PUBLIC_PATHS and record.status == 200
        facts = {
            "id": record.id,
            "method": scope["method"],
            "route": route,
            "status": record.status,
            "ms": round(seconds * 1000, 1),
            "task": record.task,
            "texts": record.texts,
            "tokens": record.tokens,
        }
        log.log(logging.DEBUG if quiet else logging.INFO, "request", extra={"facts": facts})


async def _run_until_disconnect(app: App, scope: Scope, body: RequestBody, send: Send) -> None:
    """Run the app; cancel it and raise ClientDisconnectedError when the client disconnects first."""
    work = asyncio.ensure_future(app(scope, body.receive, send))
    disconnect = asyncio.ensure_future(body.wait_for_disconnect())
    try:
        await asyncio.wait((work, disconnect), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientDisconnectedError
        await work
    finally:
        for task in (work, disconnect):
            task.cancel()
        await asyncio.wait((work, disconnect))


def _send_in_parts(send: Send, record: RequestRecord, seconds: float) -> Send:
    """Sends in parts, each of which the client must take within `seconds`: a response that nobody reads is not kept."""

    async def send_part(message: Message) -> None:
        try:
            async with asyncio.timeout(seconds):
                await send(message)
        except TimeoutError:
            raise ClientDisconnectedError from None

    async def send_message(message: Message) -> None:
        if message["type"] == "http.response.start":
            record.status = message["status"]
            MutableHeaders(scope=message)["X-Request-ID"] = record.id
        body = message.get("body", b"")
        for start in range(0, len(body) - MAX_SEND_BYTES, MAX_SEND_BYTES):
            await send_part({"type": message["type"], "body": body[start : start + MAX_SEND_BYTES], "more_body": True})
        if len(body) > MAX_SEND_BYTES:
            message = {**message, "body": body[(len(body) - 1) // MAX_SEND_BYTES * MAX_SEND_BYTES :]}
        await send_part(message)

    return send_message
