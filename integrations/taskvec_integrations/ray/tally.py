"""The books of a run that many actors do: adds the reports of its parts up, and finds ids that came in more than one."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from taskvec_integrations.ray.parts import Outcome
from taskvec_integrations.report import IngestReport

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
        """Take the time of a run and log how it ended; an error has the report so far as a note."""
        start = time.perf_counter()
        try:
            yield
        except BaseException as error:
            self.report.seconds = time.perf_counter() - start
            error.add_note(f"Ingested into {self._name!r} before this; the same call goes on from there:\n{self.report}")
            log.warning("Ingesting into %s ended early: %s: %s\n%s", self._name, type(error).__name__, error, self.report)
            raise
        finally:
            self._warn_of_doubles()
        self.report.seconds = time.perf_counter() - start
        log.info("Ingested into %s\n%s", self._name, self.report)

    def _warn_of_doubles(self) -> None:
        if doubled := self._kept - len(np.unique(np.concatenate(self._ids or [np.empty(0, np.uint64)]))):
            log.warning(
                "%d documents in %s have an id that another part of the dataset has, too: chunks of both may be stored; give "
                "each document an id of its own, and ingest again",
                *(doubled, self._name),
            )
