"""A pytest plugin for several processes (pytest-xdist): which tests stay together, and what is begun first.

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


def group_of(nodeid: str) -> str:
    """What stays together with a test, given its name as pytest prints it."""
    file = nodeid.partition("::")[0]
    if file in SPREAD:
        return nodeid
    return next((group for folder, group in TOGETHER.items() if file.startswith(folder)), file)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
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
