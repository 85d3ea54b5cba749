"""Telling how far a long encode is: a rich progress bar or the caller's own function."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[int, int | None], None]

Progress = bool | Report
"""True draws a bar; a function is called with (vectors done, vectors in all or None) after every batch."""


def check_progress(progress: object) -> Progress:
    """Return True, False or a function; raise a TypeError for anything else."""
    if not isinstance(progress, bool) and not callable(progress):
        raise TypeError(f"progress is {progress!r}: True, False or a function of (done, total) was expected")
    return progress


@contextmanager
def reporting(progress: Progress, total: int | None, doing: str = "encoding") -> Iterator[Report]:
    """Show progress the way `progress` says, for as long as the context is open.

    Args:
        progress: True draws a bar on stderr, False shows nothing, a function is called.
        total: The number in all, None if it is not known.
        doing: What the bar is labeled with.

    Yields:
        A function to call with the number done so far and the total.
    """
    if not progress:
        yield lambda done, total: None
    elif progress is not True:
        yield progress
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Bar(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(doing, total=total)
            yield lambda done, total: bar.update(task, completed=done)
