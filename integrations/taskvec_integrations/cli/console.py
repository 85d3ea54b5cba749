"""What commands say beside their results, on stderr: lines, warnings, a progress bar. Knows no models, imports quickly."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from taskvec_integrations.ingestion.report import MAX_SHOWN_FAILURES, Failure

DONE, FAILED, INTERRUPTED = 0, 3, 130
"""Exit codes beside 1 (an error ended it) and 2 (usage)."""

err = Console(stderr=True, highlight=False)

Tell = Callable[[int, str], None]
"""Takes the number done, and a word beside it."""

log = logging.getLogger("taskvec")


def say(text: str) -> None:
    """A line on stderr, as it is."""
    err.print(Text(text), soft_wrap=True)


class Lines(logging.Handler):
    """Log records as lines on stderr, above the bar."""

    def emit(self, record: logging.LogRecord) -> None:
        """A record, unless it is an ingest's report, which commands print themselves."""
        if record.module != "report":
            say(record.getMessage())


def show_warnings() -> None:
    """What taskvec logs and Python warns of as lines on stderr; what other packages log not at all."""
    log.addHandler(Lines(logging.WARNING))
    logging.getLogger().addHandler(logging.NullHandler())  # without any, Python prints what others log
    warnings.showwarning = lambda message, *others, **more: log.warning("%s", message)


@contextmanager
def progress(doing: str, total: int | None, unit: str) -> Iterator[Tell]:
    """A bar over `total` of `unit`. Draws nothing where stderr is no terminal."""
    from rich import progress as parts

    columns = (
        parts.TextColumn(doing),
        parts.BarColumn(),
        parts.MofNCompleteColumn(),
        parts.TextColumn(unit + "{task.fields[beside]}"),
        parts.TimeElapsedColumn(),
        *(() if total is None else (parts.TextColumn("left"), parts.TimeRemainingColumn())),
    )
    with parts.Progress(*columns, console=err, disable=not err.is_terminal) as bar:
        task = bar.add_task(doing, total=total, beside="")
        yield lambda done, beside: bar.update(task, completed=done, beside=beside)


def show_failures(failed: list[Failure]) -> None:
    """The first failures, a line each, on stderr."""
    for failure in failed[:MAX_SHOWN_FAILURES]:
        say(f"failed: {failure}")
    if len(failed) > MAX_SHOWN_FAILURES:
        say(f"... and {len(failed) - MAX_SHOWN_FAILURES:,} more")
