"""How long something kept the event loop from anything else."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

TICK = 0.01


async def longest_gap(work: Coroutine[Any, Any, Any]) -> float:
    """The longest time, in seconds, that the event loop did nothing else while it awaited `work`."""
    gaps: list[float] = []

    async def heartbeat() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(TICK)
            gaps.append(time.perf_counter() - last)
            last += gaps[-1]

    beating = asyncio.create_task(heartbeat())
    await asyncio.sleep(0)
    await work
    await asyncio.sleep(2 * TICK)
    beating.cancel()
    return max(gaps)
