"""One small Ray for the session, without network, and what it leaves to be ignored."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray.data

ROOT = Path(__file__).parents[3]
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


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """Two actors and a reader fit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "PYTHONPATH", os.pathsep.join([str(ROOT / "core"), str(ROOT / "integrations")])
        )  # where workers find taskvec
        patch.setenv("RAY_worker_niceness", "0")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        options = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
        ray.init(address="local", num_cpus=3, object_store_memory=100 << 20, **options)
        ray.data.DataContext.get_current()
        logging.getLogger("ray.data").propagate = False  # pytest would keep megabytes of its debugging
        yield
        ray.shutdown()
