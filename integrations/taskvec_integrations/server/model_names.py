"""What a request's model name says: whether it is ours, and which task an alias or a path prefix asks for."""

from collections.abc import Sequence

from taskvec import Task
from taskvec.integration import DOCUMENT_TASK, QUERY_TASK

SUFFIXES = {"query": QUERY_TASK, "passage": DOCUMENT_TASK, "document": DOCUMENT_TASK} | {str(task): task for task in Task}
"""What may stand behind a name and a colon, or as TEI's prompt_name."""
PREFIXES = {"query": QUERY_TASK, "passage": DOCUMENT_TASK}
"""First parts of paths that choose the task, for clients that cannot send one."""


class UnknownModelError(LookupError):
    """A request asked for a model that is not served; the message lists those that are."""


def read_name(name: str, served: Sequence[str]) -> Task | None:
    """The task that a model name's alias asks for, None without one; UnknownModelError for a name that is not served."""
    known = {own.casefold() for own in served}
    if name.casefold() in known:
        return None
    base, _, suffix = name.rpartition(":")
    if base.casefold() in known and suffix in SUFFIXES:
        return SUFFIXES[suffix]
    raise UnknownModelError(
        f"model {name!r} is not served here: use {', '.join(served)}, and behind it :query or :passage if you cannot send a task"
    )
