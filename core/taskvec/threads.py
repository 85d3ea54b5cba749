"""Long work beside an event loop: in a thread, ended at the next batch if its caller is canceled."""

import asyncio
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_stop: ContextVar[threading.Event | None] = ContextVar("taskvec_stop", default=None)


async def run_in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `function` in a thread without blocking the event loop; if the caller is canceled, it ends at the next batch."""
    stop = threading.Event()
    reset = _stop.set(stop)
    try:
        return await asyncio.to_thread(function, *args, **kwargs)
    except asyncio.CancelledError:
        stop.set()
        raise
    finally:
        _stop.reset(reset)


def raise_if_stopped() -> None:
    """Raise CancelledError in a function that `run_in_thread` runs for a caller that was canceled."""
    stop = _stop.get()
    if stop is not None and stop.is_set():
        raise asyncio.CancelledError
