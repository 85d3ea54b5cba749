"""Requests and bodies that are held at a time, within limits: counted in as they come, counted out when they are done.

Knows ASGI's messages, nothing of keys, routes or answers but refusals.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import Response

from taskvec_integrations.server.errors import refuse
from taskvec_integrations.server.metrics import Metrics
from taskvec_integrations.server.settings import MIB, ServerSettings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class RefusedError(Exception):
    """A request is not let in; `response` says why."""

    def __init__(self, response: Response) -> None:
        self.response = response


class ClientLeftError(Exception):
    """Nobody is there to answer any more."""


class Holdings:
    """How many requests, and how many bytes of their bodies, are held."""

    def __init__(self, settings: ServerSettings, metrics: Metrics) -> None:
        self.settings = settings
        self._metrics = metrics
        self._requests = 0
        self._bytes = 0

    def hold(self, requests: int, size: int) -> None:
        """Count requests and bytes in, or with negative numbers out."""
        self._requests += requests
        self._bytes += size
        self._metrics.held(self._requests)

    def enter(self) -> None:
        """Count one more request in; RefusedError where as many are held as may."""
        if self._requests >= self.settings.max_requests:
            sentence = f"{self.settings.max_requests} requests are held, as many as may: try again"
            raise RefusedError(refuse(503, sentence, {"Retry-After": "1"}))
        self.hold(1, 0)

    def reserve(self, size: int, so_far: int) -> None:
        """Count bytes of a body in, after `so_far` of it; RefusedError where it is too large, or all of them together are."""
        if so_far + size > self.settings.max_body_mib * MIB:
            raise RefusedError(
                refuse(413, f"the body is larger than {self.settings.max_body_mib:g} MiB: send fewer texts in one request")
            )
        if self._bytes + size > self.settings.max_bodies_mib * MIB:
            sentence = (
                f"the bodies being served have {self.settings.max_bodies_mib:g} MiB together, as much as they may: try again"
            )
            raise RefusedError(refuse(503, sentence, {"Retry-After": "1"}))
        self.hold(0, size)


class Body:
    """A request's body, read whole, and then handed to the app."""

    def __init__(self, holdings: Holdings, receive: Receive) -> None:
        self._holdings = holdings
        self._receive = receive
        self._content = b""
        self._handed = False
        self._entered = False
        self.size = 0
        """Bytes that were counted in."""

    def enter(self) -> None:
        """Count the request in, see `Holdings`."""
        self._holdings.enter()
        self._entered = True

    def leave(self) -> None:
        """Count out what was counted in."""
        self._holdings.hold(-int(self._entered), -self.size)

    async def read(self, declared: str | None) -> None:
        """Read it, within the limits; a declared length is counted before the first byte has come."""
        if declared and declared.isdecimal():
            self._count(int(declared))
        parts: list[bytes] = []
        came = 0
        try:
            async with asyncio.timeout(self._holdings.settings.body_seconds):
                while True:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise ClientLeftError
                    parts.append(message.get("body", b""))
                    came += len(parts[-1])
                    self._count(came - self.size)
                    if not message.get("more_body"):
                        break
        except TimeoutError:
            raise RefusedError(
                refuse(408, f"the body did not come within {self._holdings.settings.body_seconds:g} s", {"Connection": "close"})
            ) from None
        self._content = b"".join(parts)

    def _count(self, size: int) -> None:
        if size > 0:
            self._holdings.reserve(size, self.size)
            self.size += size

    async def __call__(self) -> Message:
        """What the app receives: the body, and then nothing until it is done."""
        if not self._handed:
            self._handed = True
            return {"type": "http.request", "body": self._content, "more_body": False}
        await asyncio.Event().wait()
        raise AssertionError("an app that waits is cancelled")

    async def until_client_leaves(self) -> None:
        """Return when the client is gone."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
