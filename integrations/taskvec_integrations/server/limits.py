"""Limits on the requests and bodies that the server handles at a time: acquired as they come, released when they are done.

Knows ASGI's messages, nothing of keys or routes.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import Response

from taskvec_integrations.server.errors import error_response
from taskvec_integrations.server.metrics import Metrics
from taskvec_integrations.server.settings import BYTES_PER_MIB, ServerSettings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class RefusedError(Exception):
    """A request is refused; `response` says why."""

    def __init__(self, response: Response) -> None:
        self.response = response


class ClientDisconnectedError(Exception):
    """The client is gone, so nobody would read a response."""


class RequestLimits:
    """Counts the open requests and the bytes of their bodies, and refuses what goes beyond the settings."""

    def __init__(self, settings: ServerSettings, metrics: Metrics) -> None:
        self.settings = settings
        self._metrics = metrics
        self._requests = 0
        self._bytes = 0

    def acquire_request(self) -> None:
        """Count one more request; RefusedError where the server handles as many as it may."""
        if self._requests >= self.settings.max_requests:
            raise _busy(f"the server handles {self._requests} requests, the limit is {self.settings.max_requests}")
        self._count(1, 0)

    def acquire_bytes(self, size: int, before: int) -> None:
        """Count more bytes of a body.

        Args:
            size: The bytes to add.
            before: The bytes of the same body that were added before.

        Raises:
            RefusedError: The body is too large, or all bodies together are.
        """
        if before + size > self.settings.max_body_mib * BYTES_PER_MIB:
            message = f"the body is larger than {self.settings.max_body_mib:g} MiB: send fewer texts in one request"
            raise RefusedError(error_response(413, message))
        if self._bytes + size > self.settings.max_bodies_mib * BYTES_PER_MIB:
            raise _busy(f"the bodies of all requests would be larger than {self.settings.max_bodies_mib:g} MiB together")
        self._count(0, size)

    def release(self, requests: int, size: int) -> None:
        """Count out what was acquired."""
        self._count(-requests, -size)

    def _count(self, requests: int, size: int) -> None:
        self._requests += requests
        self._bytes += size
        self._metrics.set_open_requests(self._requests)


class RequestBody:
    """The body of a request: read whole and within limits, then handed to the app.

    Attributes:
        size: The bytes that were counted.
    """

    def __init__(self, limits: RequestLimits, receive: Receive) -> None:
        self._limits = limits
        self._receive_from_client = receive
        self._content = b""
        self._delivered = False
        self._acquired = False
        self.size = 0

    def acquire(self) -> None:
        """Count the request, see `RequestLimits.acquire_request`."""
        self._limits.acquire_request()
        self._acquired = True

    def release(self) -> None:
        """Count out what was acquired."""
        self._limits.release(int(self._acquired), self.size)

    async def read(self, content_length: str | None) -> None:
        """Read the body.

        Args:
            content_length: The header, whose bytes are counted before the first one has come.

        Raises:
            RefusedError: The body is too large, or does not arrive in time.
            ClientDisconnectedError: The client is gone.
        """
        if content_length and content_length.isdecimal():
            self._acquire_bytes(int(content_length))
        seconds = self._limits.settings.body_seconds
        try:
            async with asyncio.timeout(seconds):
                self._content = await self._read_all()
        except TimeoutError:
            message = f"the body did not arrive within {seconds:g} s: send fewer texts in one request"
            raise RefusedError(error_response(408, message, {"Connection": "close"})) from None

    async def _read_all(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive_from_client()
            if message["type"] == "http.disconnect":
                raise ClientDisconnectedError
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            self._acquire_bytes(size - self.size)
            if not message.get("more_body"):
                return b"".join(parts)

    def _acquire_bytes(self, size: int) -> None:
        if size > 0:
            self._limits.acquire_bytes(size, self.size)
            self.size += size

    async def receive(self) -> Message:
        """What the app receives, as ASGI has it: the whole body, and nothing after it."""
        if not self._delivered:
            self._delivered = True
            return {"type": "http.request", "body": self._content, "more_body": False}
        await asyncio.Event().wait()
        raise AssertionError("an app that waits is cancelled")

    async def wait_for_disconnect(self) -> None:
        """Return when the client is gone."""
        while (await self._receive_from_client())["type"] != "http.disconnect":
            pass


def _busy(message: str) -> RefusedError:
    return RefusedError(error_response(503, f"{message}: try again", {"Retry-After": "1"}))
