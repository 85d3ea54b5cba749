"""The door of the server, around every route: request ids, keys, whole bodies, callers who leave, metrics and the log.

Plain ASGI. Knows no dialect. A body is read before its route is asked (holding.py), so that slow or endless ones hold nothing up.
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
from taskvec_integrations.server.errors import failed, refuse
from taskvec_integrations.server.limits import Body, ClientLeftError, Holdings, Message, Receive, RefusedError
from taskvec_integrations.server.metrics import Metrics
from taskvec_integrations.server.settings import ServerSettings

Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = {"/health", "/live", "/ready", "/ping", "/favicon.ico", *pages.OPEN}
"""What may be asked for without a key: health, and pages that hold no data."""
WITH_BODY = ("POST", "PUT", "PATCH")
REQUEST_ID = re.compile(r"[\w.:@/+=-]{1,128}", re.ASCII)
PIECE = 2**16
CLIENT_LEFT = 499
"""How logs and metrics call a request whose client went away, after nginx."""

log = logging.getLogger("taskvec.server")


@dataclass
class Exchange:
    """One request on its way: what the log and the metrics will say of it. Routes fill in `task`, `texts` and `tokens`."""

    id: str
    start: float = field(default_factory=time.monotonic)
    status: int = CLIENT_LEFT
    task: str = ""
    texts: int = 0
    tokens: int = 0


class Gate:
    """ASGI middleware; see the module."""

    def __init__(self, app: App, settings: ServerSettings, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._holdings = Holdings(settings, metrics)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        exchange = Exchange(given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex)
        scope.setdefault("state", {})["exchange"] = exchange
        try:
            await self._pass(scope, headers, receive, _sending(send, exchange, self._settings.send_seconds), exchange)
        finally:
            self._say(scope, exchange)

    async def _pass(self, scope: Scope, headers: Headers, receive: Receive, send: Send, exchange: Exchange) -> None:
        body = Body(self._holdings, receive)
        try:
            self._check_key(scope, headers)
            if scope["method"] in WITH_BODY:
                body.enter()
                await body.read(headers.get("content-length"))
            await _unless_client_leaves(self._app, scope, body, send)
        except RefusedError as refused:
            await refused.response(scope, receive, send)
        except ClientLeftError:
            pass
        except asyncio.CancelledError:  # stopping takes longer than it may
            if exchange.status == CLIENT_LEFT:
                await refuse(503, "the server stopped before it came to this: ask it again", {"Retry-After": "5"})(
                    scope, receive, send
                )
            raise
        except Exception:
            log.exception("request %s failed", exchange.id)
            if exchange.status == CLIENT_LEFT:
                await failed()(scope, receive, send)
        finally:
            body.leave()

    def _check_key(self, scope: Scope, headers: Headers) -> None:
        if scope["method"] in ("GET", "HEAD") and scope["path"] in OPEN:
            return
        if self._settings.api_keys:
            kind, _, key = headers.get("authorization", "").partition(" ")
            key = key.strip() if kind.lower() == "bearer" else headers.get("api-key", "")
            if not self._settings.opens(key):
                what = "that key is none of this server's" if key else "this server asks for a key"
                raise RefusedError(
                    refuse(401, f"{what}: send Authorization: Bearer KEY, or Api-Key: KEY", {"WWW-Authenticate": "Bearer"})
                )

    def _say(self, scope: Scope, exchange: Exchange) -> None:
        seconds = time.monotonic() - exchange.start
        route = getattr(scope.get("route"), "path", "none")
        self._metrics.request(route, exchange.task, exchange.status, seconds, exchange.texts)
        quiet = route in OPEN and exchange.status == 200
        facts = {
            "id": exchange.id,
            "method": scope["method"],
            "route": route,
            "status": exchange.status,
            "ms": round(seconds * 1000, 1),
            "task": exchange.task,
            "texts": exchange.texts,
            "tokens": exchange.tokens,
        }
        log.log(logging.DEBUG if quiet else logging.INFO, "request", extra={"facts": facts})


async def _unless_client_leaves(app: App, scope: Scope, body: Body, send: Send) -> None:
    """Run the app; cancel it when the client goes away."""
    work = asyncio.ensure_future(app(scope, body, send))
    gone = asyncio.ensure_future(body.until_client_leaves())
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientLeftError
        await work
    finally:
        for task in (work, gone):
            task.cancel()
        await asyncio.wait((work, gone))


def _sending(send: Send, exchange: Exchange, seconds: float) -> Send:
    """Sends in pieces, each of which the client has to take within `seconds`: an answer that nobody reads is not kept."""

    async def piece(message: Message) -> None:
        try:
            async with asyncio.timeout(seconds):
                await send(message)
        except TimeoutError:
            raise ClientLeftError from None

    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            exchange.status = message["status"]
            MutableHeaders(scope=message)["X-Request-ID"] = exchange.id
        body = message.get("body", b"")
        for start in range(0, len(body) - PIECE, PIECE):
            await piece({"type": message["type"], "body": body[start : start + PIECE], "more_body": True})
        if len(body) > PIECE:
            message = {**message, "body": body[(len(body) - 1) // PIECE * PIECE :]}
        await piece(message)

    return wrapped
