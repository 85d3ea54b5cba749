"""A pytest plugin: which tests are quick, and in several processes (pytest-xdist) which stay together and what is begun first.

The tests of a file share its fixtures, so a file is in one process. So is everything that starts the same large server.
"""

from typing import Any

import pytest

TOGETHER = {"tests/integrations/milvus/": "a real Milvus", "tests/integrations/ray/": "a Ray of its own"}
"""Folders whose files share what is costly to start."""
SPREAD = ("tests/test_readme.py",)
"""Files whose tests share nothing and take long: each test goes to whichever process is free."""
FIRST = (
    "tests/integrations/milvus/",
    "tests/integrations/ray/",
    "tests/test_wheel.py",
    "tests/examples/test_train_mini.py",
    "tests/test_readme.py",
)
"""What takes longest, so that no process is left with it at the end."""

QUICK = (
    "tests/test_architecture.py",
    "tests/test_project.py",
    "tests/core/test_attention.py",
    "tests/core/test_checkpoint.py",
    "tests/core/test_encoder_contract.py",
    "tests/core/test_encoder_errors.py",
    "tests/core/test_encoder_iteration.py",
    "tests/core/test_packing.py",
    "tests/core/test_precision.py",
    "tests/integrations/test_extras.py",
    "tests/integrations/test_ingest_report.py",
    "tests/integrations/test_options.py",
    "tests/integrations/test_store_arguments.py",
    "tests/integrations/test_store_url.py",
    "tests/integrations/files/",
    "tests/integrations/pinecone/test_store_limits.py",
    "tests/integrations/qdrant/test_document_options.py",
    "tests/integrations/server/test_queue.py",
    "tests/integrations/server/test_settings.py",
)
"""What `make check` runs: a bit of every room in some seconds. The other files are marked slow."""


def group_of(nodeid: str) -> str:
    """What stays together with a test, given its name as pytest prints it."""
    file = nodeid.partition("::")[0]
    if file in SPREAD:
        return nodeid
    return next((group for folder, group in TOGETHER.items() if file.startswith(folder)), file)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow, and begin with what takes longest."""
    for item in items:
        if not item.nodeid.startswith(QUICK):
            item.add_marker("slow")
    items.sort(key=lambda item: next((place for place, path in enumerate(FIRST) if item.nodeid.startswith(path)), len(FIRST)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out groups; `--dist loadgroup` would, but does not find its markers with this version of pytest."""
    from xdist.scheduler import LoadScopeScheduling

    class GroupScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    config.option.loadscopereorder = False
    return GroupScheduling(config, log)
