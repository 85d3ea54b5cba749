"""The books of a run that many actors do: adds the reports of its parts up, and finds ids that came in more than one."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from taskvec_integrations.ingestion.report import IngestReport, timed
from taskvec_integrations.ray.parts import Outcome

REMEMBERED = 100_000_000
"""Ids that are looked at for doubles: 800 MB of memory."""

log = logging.getLogger("taskvec")


class Tally:
    """Fills `report` with what parts report; `name` is the collection's."""

    def __init__(self, name: str, report: IngestReport) -> None:
        self.report = report
        self._name = name
        self._most: dict[str, int] = {}
        self._ids: list[NDArray[np.uint64]] = []
        self._kept = 0

    def add(self, outcome: Outcome) -> None:
        """A part is done, or was ended by an error, which is raised."""
        self.report.add(outcome.report)
        self._most[outcome.worker] = max(self._most.get(outcome.worker, 0), outcome.report.most_under_way)
        self.report.most_under_way = sum(self._most.values())
        if self._kept < REMEMBERED:
            self._ids.append(outcome.ids)
            self._kept += len(outcome.ids)
        if outcome.error:
            raise outcome.error

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Take the time of a run and log how it ended, as `Store.ingest` does; warn of ids that came more than once."""
        try:
            with timed(self.report, self._name, lambda error: f"{type(error).__name__}: {error}"):
                yield
        finally:
            self._warn_of_doubles()

    def _warn_of_doubles(self) -> None:
        if doubled := self._kept - len(np.unique(np.concatenate(self._ids or [np.empty(0, np.uint64)]))):
            log.warning(
                "%d documents in %s have an id that another part of the dataset has, too: chunks of both may be stored; give "
                "each document an id of its own, and ingest again",
                *(doubled, self._name),
            )
