"""The report of a run that many actors do: adds up the results of its parts, and finds ids that came in more than one part."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from taskvec_integrations.ingestion.report import IngestReport, timed
from taskvec_integrations.ray.parts import PartResult

MAX_REMEMBERED_IDS = 100_000_000
"""So many ids are compared to find duplicates, in 800 MB of memory."""

log = logging.getLogger("taskvec")


class PartRecorder:
    """Fills a report with the results of parts.

    Args:
        name: The collection, for the log.
        report: What is filled.
    """

    def __init__(self, name: str, report: IngestReport) -> None:
        self.report = report
        self._name = name
        self._most_under_way: dict[str, int] = {}
        self._ids: list[NDArray[np.uint64]] = []
        self._remembered = 0

    def record(self, result: PartResult) -> None:
        """Add the report of a part; raises the error that ended the part, if there was one."""
        self.report.add(result.report)
        self._most_under_way[result.worker] = max(self._most_under_way.get(result.worker, 0), result.report.most_under_way)
        self.report.most_under_way = sum(self._most_under_way.values())
        if self._remembered < MAX_REMEMBERED_IDS:
            self._ids.append(result.ids)
            self._remembered += len(result.ids)
        if result.error:
            raise result.error

    @contextmanager
    def timing(self) -> Iterator[None]:
        """Take the time of the whole run and log how it ended, as `Store.ingest` does; warn of ids that came more than once."""
        try:
            with timed(self.report, self._name, lambda error: f"{type(error).__name__}: {error}"):
                yield
        finally:
            self._warn_of_duplicates()

    def _warn_of_duplicates(self) -> None:
        if duplicates := self._remembered - len(np.unique(np.concatenate(self._ids or [np.empty(0, np.uint64)]))):
            log.warning(
                "%d documents in %s have an id that another part of the dataset has, too: chunks of both may be stored; give "
                "each document an id of its own, and ingest again",
                *(duplicates, self._name),
            )
