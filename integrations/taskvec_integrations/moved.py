"""Where names went that pickles of version 0.1.0 hold. To be dropped with 0.3.0."""

import sys
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

MOVED = {
    "documents": {"Document": "store"},
    "engine": {"Hit": "store"},
    "options": {"EmbedSettings": "task_choice", "LazyEncoder": "lazy_encoder"},
    "report": {"Counts": "store", "Failure": "store", "IngestReport": "store"},
}
"""Former modules of this package, with the module that each of their pickled names is in."""


def _find(targets: dict[str, str], name: str) -> Any:
    if name not in targets:
        raise AttributeError(f"{name!r} is in no module of this version of taskvec_integrations under its former path")
    return getattr(import_module(f"taskvec_integrations.{targets[name]}"), name)


def register() -> None:
    """Make the former modules importable, each name on first use."""
    for former, targets in MOVED.items():
        module = ModuleType(f"taskvec_integrations.{former}", "A former module, kept for pickles.")
        module.__getattr__ = partial(_find, targets)  # type: ignore[method-assign]
        sys.modules[module.__name__] = module
