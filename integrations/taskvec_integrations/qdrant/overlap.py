"""Working on two things at once: items are made in the caller's thread while another thread consumes them.

The model runs in the caller's thread, not in the other one: where two threads of a process have used torch, each keeps its own
OpenMP workers, and on a CPU with few cores they get in each other's way (28 % slower encoding on 2 cores, libgomp).
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import Full, Queue
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

PATIENCE = 0.1  # seconds between looks whether whoever consumes is still there


@dataclass(frozen=True)
class _End:
    """The last thing in the queue: no more items, or the error that ended them."""

    error: BaseException | None = None


def consume_meanwhile(consume: Callable[[Iterator[T]], R], items: Iterable[T]) -> R:
    """`consume(items)` in a thread while the items are made in this one; at most one waits in between.

    An error while an item is made is raised in `consume` after the items before it, and then here; where `consume` fails, no
    more items are made.
    """
    waiting: Queue[T | _End] = Queue(1)

    def arriving() -> Iterator[T]:
        while not isinstance(item := waiting.get(), _End):
            yield item
        if item.error:
            raise item.error

    with ThreadPoolExecutor(1, thread_name_prefix="taskvec-upload") as executor:
        consuming = executor.submit(consume, arriving())
        end = _End()
        try:
            for item in items:
                if not _put(waiting, item, consuming):
                    break
        except BaseException as error:
            end = _End(error)
            raise
        finally:
            _put(waiting, end, consuming)
    return consuming.result()


def _put(queue: Queue[T], item: T, consuming: Future[R]) -> bool:
    """Wait for room in the queue; False if nobody takes from it any more."""
    while not consuming.done():
        try:
            queue.put(item, timeout=PATIENCE)
        except Full:
            continue
        return True
    return False
