"""What commands print on stderr beside their results: lines, warnings, a progress bar. Knows no models, imports quickly."""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from taskvec_integrations.ingestion.report import MAX_SHOWN_FAILURES, Failure

EXIT_DONE, EXIT_FAILURES, EXIT_INTERRUPTED = 0, 3, 130
"""Exit codes beside 1 (an error ended the command) and 2 (wrong usage)."""

stderr = Console(stderr=True, highlight=False)

UpdateBar = Callable[[int, str], None]
"""Takes the number done, and a text to show beside it."""

log = logging.getLogger("taskvec")


def print_line(text: str) -> None:
    """Print a line on stderr, as it is."""
    stderr.print(Text(text), soft_wrap=True)


class StderrHandler(logging.Handler):
    """Prints log records as lines on stderr, above the bar."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record, unless it is the report of an ingest, which commands print themselves."""
        if record.module != "report":
            print_line(record.getMessage())


def show_warnings() -> None:
    """Print what taskvec logs and Python warns of as lines on stderr, and nothing that other packages log."""
    log.addHandler(StderrHandler(logging.WARNING))
    logging.getLogger().addHandler(logging.NullHandler())  # without any handler, Python prints what others log
    warnings.showwarning = lambda message, *others, **more: log.warning("%s", message)


@contextmanager
def progress_bar(activity: str, total: int | None, unit: str) -> Iterator[UpdateBar]:
    """Show a bar while the block runs. Draws nothing where stderr is not a terminal.

    Args:
        activity: What is going on, shown before the bar.
        total: How many there are; None where that is not known.
        unit: What is counted, shown behind the numbers.

    Yields:
        A function that moves the bar.
    """
    from rich import progress as parts

    columns = (
        parts.TextColumn(activity),
        parts.BarColumn(),
        parts.MofNCompleteColumn(),
        parts.TextColumn(unit + "{task.fields[beside]}"),
        parts.TimeElapsedColumn(),
        *(() if total is None else (parts.TextColumn("left"), parts.TimeRemainingColumn())),
    )
    with parts.Progress(*columns, console=stderr, disable=not stderr.is_terminal) as bar:
        task = bar.add_task(activity, total=total, beside="")
        yield lambda done, beside: bar.update(task, completed=done, beside=beside)


def print_failures(failures: Sequence[Failure]) -> None:
    """Print the first failures on stderr, a line each."""
    for failure in failures[:MAX_SHOWN_FAILURES]:
        print_line(f"failed: {failure}")
    if len(failures) > MAX_SHOWN_FAILURES:
        print_line(f"... and {len(failures) - MAX_SHOWN_FAILURES:,} more")
