"""Encoding that waits for the test: what happens meanwhile is then a question of order, whatever the speed of the machine."""

import asyncio
import threading
from typing import Any

import pytest

from taskvec import Encoder

GUARD_SECONDS = 120
"""After so long a test fails instead of hanging."""
POLL_SECONDS = 0.01


class EncodingPause:
    """`Encoder.encode` waits until the test calls `end`. If it ran in the event loop's thread, nobody could call that.

    Attributes:
        errors: what calls of `Encoder.encode` raised.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._encoding = threading.Event()
        self._ended = threading.Event()
        self.errors: list[BaseException] = []
        encode = Encoder.encode

        def encode_after_pause(encoder: Encoder, *args: Any, **options: Any) -> Any:
            self._encoding.set()
            assert self._ended.wait(GUARD_SECONDS), "nobody ended the pause: the event loop is blocked"
            try:
                return encode(encoder, *args, **options)
            except BaseException as error:
                self.errors.append(error)
                raise

        monkeypatch.setattr(Encoder, "encode", encode_after_pause)

    async def wait_until_encoding(self) -> None:
        """Wait in the event loop until a call of `Encoder.encode` has begun."""
        async with asyncio.timeout(GUARD_SECONDS):
            while not self._encoding.is_set():
                await asyncio.sleep(POLL_SECONDS)

    def end(self) -> None:
        """Let all calls go on, also later ones."""
        self._ended.set()
