"""Model names in requests: whether a name is served, and which task an alias or a path prefix stands for."""

from collections.abc import Sequence

from taskvec import Task
from taskvec.integration import DOCUMENT_TASK, QUERY_TASK

SUFFIXES = {"query": QUERY_TASK, "passage": DOCUMENT_TASK, "document": DOCUMENT_TASK} | {str(task): task for task in Task}
"""What may follow a model's name and a colon, or be the prompt_name of Text Embeddings Inference."""
PREFIXES = {"query": QUERY_TASK, "passage": DOCUMENT_TASK}
"""First parts of paths that choose the task, for clients that cannot send one."""


class UnknownModelError(LookupError):
    """A request names a model that is not served; the message lists those that are."""


def task_of_alias(name: str, served: Sequence[str]) -> Task | None:
    """The task that an alias such as `jina-embeddings-v3:query` stands for.

    Args:
        name: The model name of a request; case does not matter.
        served: The names that the model is served under.

    Returns:
        The task, or None for a name without a suffix.

    Raises:
        UnknownModelError: The name is not served.
    """
    known = {served_name.casefold() for served_name in served}
    if name.casefold() in known:
        return None
    base, _, suffix = name.rpartition(":")
    if base.casefold() in known and suffix in SUFFIXES:
        return SUFFIXES[suffix]
    raise UnknownModelError(
        f"model {name!r} is not served here: use one of {', '.join(served)}, and append :query or :passage to it if the client "
        "cannot send a task"
    )
