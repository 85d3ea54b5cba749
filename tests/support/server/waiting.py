"""Waiting for a state of a server, with a deadline that only guards against hanging."""

import asyncio
import re
import time
from collections.abc import Callable

import httpx

GUARD_SECONDS = 300.0
"""Only a server that hangs takes longer, however busy the machine is."""


def wait_until(condition: Callable[[], bool]) -> None:
    """Return as soon as a condition holds."""
    deadline = time.monotonic() + GUARD_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the state did not come"
        time.sleep(0.01)


async def wait_until_async(condition: Callable[[], bool]) -> None:
    """Return as soon as a condition holds; the event loop runs meanwhile."""
    deadline = time.monotonic() + GUARD_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the state did not come"
        await asyncio.sleep(0.001)


def metric(url: str, name: str) -> float:
    """The sum of a server's metric over its labels; `name` may end with labels in braces. 0 where there is none."""
    lines = httpx.get(f"{url}/metrics", timeout=GUARD_SECONDS).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if re.match(rf"{re.escape(name)}[ {{]", line))


def wait_for_metric(url: str, name: str, value: float) -> None:
    """Return as soon as a server's metric has a value."""
    wait_until(lambda: metric(url, name) == value)
