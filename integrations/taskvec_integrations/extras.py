"""Importing what only an extra of the distribution brings, with the command that installs it where it is missing."""

from importlib import import_module
from types import ModuleType


class MissingExtraError(ImportError):
    """A package that an optional part of taskvec needs is not installed; the message holds the command that does."""


def require(module: str, extra: str) -> ModuleType:
    """Import a module of the extra `extra`; raises MissingExtraError where it, and not something it imports, is missing."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):  # what is missing is neither the module nor its package
            raise
        raise MissingExtraError(f"{module} is not installed: pip install 'taskvec[{extra}]'", name=error.name) from None
