"""One small Ray for the session, without network, and the warnings of Ray that are ignored."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray.data

from support.ray_runs import for_workers

WARNINGS = (
    "ignore::DeprecationWarning:ray.*",
    "ignore::UserWarning:ray.*",
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)
"""Ray's own: it warns of names that it uses itself, and leaves its subprocesses to the end of the process."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for warning in WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture(autouse=True)
def without_debug_logs() -> None:
    """Ray Data logs so much that pytest would keep megabytes."""
    ray.data.DataContext.get_current()  # sets up the logging of Ray Data
    logging.getLogger("ray.data").propagate = False


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """Two actors and a reader fit."""
    with pytest.MonkeyPatch.context() as patch:
        for_workers(patch)
        ray.init(
            address="local",
            num_cpus=3,
            object_store_memory=100 << 20,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        yield
        ray.shutdown()
