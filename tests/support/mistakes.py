"""Mistakes that every adapter could make: the wrong task for what is done. Tests patch one in and must see their checks fail."""

import pytest

from taskvec_integrations.task_choice import EmbedSettings

OTHER = {"document": "query", "query": "document"}


def tasks_swapped(patch: pytest.MonkeyPatch) -> None:
    right = EmbedSettings.task
    patch.setattr(EmbedSettings, "task", lambda self, operation: right(self, OTHER[operation]))  # type: ignore[arg-type]


def queries_as_passages(patch: pytest.MonkeyPatch) -> None:
    right = EmbedSettings.task
    patch.setattr(EmbedSettings, "task", lambda self, operation: right(self, "document"))


def passages_as_queries(patch: pytest.MonkeyPatch) -> None:
    right = EmbedSettings.task
    patch.setattr(EmbedSettings, "task", lambda self, operation: right(self, "query"))
