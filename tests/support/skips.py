"""A pytest plugin: the last line of a run says how many tests were skipped, by reason."""

from collections import Counter

import pytest

skipped: Counter[str] = Counter()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count a test that was skipped under its reason, whichever process ran it."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        skipped[reason.removeprefix("Skipped: ")] += 1


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Count a file that was skipped as a whole."""
    if report.skipped and isinstance(report.longrepr, tuple):
        skipped[f"{report.longrepr[2].removeprefix('Skipped: ')} (all of {report.nodeid})"] += 1


def pytest_unconfigure(config: pytest.Config) -> None:
    """Print the line, once for all processes."""
    if not hasattr(config, "workerinput") and skipped:
        reasons = "; ".join(f"{count} {reason}" for reason, count in skipped.most_common())
        print(f"{skipped.total()} skipped: {reasons}")
