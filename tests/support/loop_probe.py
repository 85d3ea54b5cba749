"""Whether the event loop stays free while threads work: each step of the work waits until the loop has answered it."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

DEADLINE_SECONDS = 60


class LoopProbe:
    """Patches functions so that they ask the event loop for an answer before they run.

    A blocked loop never answers, so a function that runs in the loop, or that the loop waits for, fails its test. Nothing depends
    on how fast the machine is.

    Attributes:
        answered: The names of the functions that got an answer, in the order in which they ran.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.answered: list[str] = []
        self._patch = patch
        self._loop: asyncio.AbstractEventLoop | None = None

    def watch(self, owner: object, name: str) -> None:
        """Let the function `name` of a module or class ask the loop each time it is called."""
        right = getattr(owner, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            self._ask(name)
            return right(*args, **kwargs)

        self._patch.setattr(owner, name, watched)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Await `work` in an event loop that answers, and return its result."""

        async def main() -> Any:
            self._loop = asyncio.get_running_loop()
            return await work

        return asyncio.run(main())

    def _ask(self, name: str) -> None:
        assert self._loop is not None, "only what runs inside `run` can ask"
        assert not _runs_in_a_loop(), f"{name} runs in the event loop and blocks it"
        answer = threading.Event()
        self._loop.call_soon_threadsafe(answer.set)
        assert answer.wait(DEADLINE_SECONDS), f"the event loop does nothing else while {name} runs"
        self.answered.append(name)


def _runs_in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
