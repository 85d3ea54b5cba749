"""Encoding and uploading at the same time: this thread makes the items while another one uploads them.

The model runs in the caller's thread. Where two threads of a process have used torch, each keeps its own OpenMP workers, and on
a CPU with few cores they slow each other down (encoding was 28 % slower on 2 cores, libgomp).
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import Full, Queue
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

UPLOAD_CHECK_SECONDS = 0.1
"""How often a full queue makes the caller look whether the upload has ended."""


@dataclass(frozen=True)
class _EndOfItems:
    """The last thing in the queue: there are no more items, or `error` ended them."""

    error: BaseException | None = None


def upload_in_thread(upload: Callable[[Iterator[T]], R], items: Iterable[T]) -> R:
    """Call `upload` in a thread, with items that are made in this one.

    Args:
        upload: reads items from an iterator until it ends.
        items: what to upload, made as it is needed. At most one item waits between the two threads.

    Returns:
        What `upload` returned.

    Raises:
        Exception: what `upload` raised; no more items are made after that. An error of `items` is raised in `upload` after the
            items before it, and then here.
    """
    queue: Queue[T | _EndOfItems] = Queue(1)

    def read_queue() -> Iterator[T]:
        while not isinstance(item := queue.get(), _EndOfItems):
            yield item
        if item.error:
            raise item.error

    with ThreadPoolExecutor(1, thread_name_prefix="taskvec-upload") as executor:
        future = executor.submit(upload, read_queue())
        end = _EndOfItems()
        try:
            for item in items:
                if not _put(queue, item, future):
                    break
        except BaseException as error:
            end = _EndOfItems(error)
            raise
        finally:
            _put(queue, end, future)
    return future.result()


def _put(queue: Queue[T], item: T, upload: Future[R]) -> bool:
    """Wait for room in the queue; False if the upload has ended and takes nothing more."""
    while not upload.done():
        try:
            queue.put(item, timeout=UPLOAD_CHECK_SECONDS)
        except Full:
            continue
        return True
    return False
