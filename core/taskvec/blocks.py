"""Reading any iterable in blocks of bounded size, the next one prepared while the current one is worked on."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

# More texts than this in a block gain nothing: their arrays would only wait in memory.
MAX_BLOCK_ITEMS = 4096


def blocks(items: Iterable[T], size: Callable[[T], int], max_size: int) -> Iterator[list[T]]:
    """Lists of items up to `max_size` in all (one larger item is a list of its own).

    Where reading an item fails, the items before it are handed out first and the error is raised after them.
    """
    block: list[T] = []
    total = 0
    try:
        for item in items:
            if block and (total + size(item) > max_size or len(block) == MAX_BLOCK_ITEMS):
                yield block
                block, total = [], 0
            block.append(item)
            total += size(item)
    except Exception:
        if block:
            yield block
        raise
    if block:
        yield block


def map_ahead(function: Callable[[T], R], items: Iterator[T]) -> Iterator[R]:
    """``map(function, items)`` with the next result computed in a thread while the caller uses this one.

    `items` is only ever advanced in the caller's thread, and a single item starts no thread. An error of `items` is raised after
    the results of the items before it.
    """
    failure: Exception | None = None

    def advance() -> tuple[T] | None:
        nonlocal failure
        try:
            return (next(items),)
        except StopIteration:
            return None
        except Exception as error:
            failure = error
            return None

    current = advance()
    following = current and advance()
    if current and not following:
        yield function(current[0])
    elif current:
        with ThreadPoolExecutor(1, thread_name_prefix="taskvec-ahead") as executor:
            pending = executor.submit(function, current[0])
            while following:
                result, pending = pending.result(), executor.submit(function, following[0])
                yield result
                following = advance()
            yield pending.result()
    if failure:
        raise failure
