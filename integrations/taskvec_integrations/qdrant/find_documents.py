"""Where Documents stand in what a client's methods take, and putting vectors in their places without changing an argument.

Knows the shapes of Qdrant's models (pydantic models, dicts and lists of each other), nothing of encoders.
"""

from collections.abc import Callable
from numbers import Number
from typing import Any

from pydantic import BaseModel
from qdrant_client.models import Document, Image, InferenceObject

Inference = Document | Image | InferenceObject
"""What Qdrant's models may hold in place of a vector, to be embedded."""

Path = tuple[str, ...]
"""Names of fields and of vectors on the way to a Document; places in lists are left out, so all points of a call share it."""

Visit = Callable[[Inference, Path], Any]

# A payload is the user's, whatever it holds; the others never hold a Document and can be long.
OPAQUE = {"payload", "payloads", "filter", "must", "should", "must_not"}


def rewrite(value: Any, visit: Visit, path: Path = ()) -> Any:
    """Replace every Document in a value.

    Args:
        value: models of Qdrant, dicts and lists, in any nesting.
        visit: called with each Document and its path, in their order; what it returns takes the Document's place.
        path: where `value` stands.

    Returns:
        `value` with the replacements. What holds a replaced Document is a copy, everything else is the same object.
    """
    if isinstance(value, Inference):
        return visit(value, path)
    if isinstance(value, BaseModel):
        fields = {name: item for name, item in vars(value).items() if name not in OPAQUE}
        new = {name: rewrite(item, visit, (*path, name)) for name, item in fields.items()}
        changed = {name: item for name, item in new.items() if item is not fields[name]}
        return value.model_copy(update=changed) if changed else value
    if isinstance(value, dict):
        new = {name: rewrite(item, visit, (*path, str(name))) for name, item in value.items()}
        return new if any(new[name] is not item for name, item in value.items()) else value
    if isinstance(value, list | tuple) and not _of_scalars(value):
        items = [rewrite(item, visit, path) for item in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    return value


def _of_scalars(values: list[Any] | tuple[Any, ...]) -> bool:
    """Whether they are numbers or texts only, as a vector's are; looks at types, since vectors are long."""
    return all(issubclass(kind, Number | str) for kind in set(map(type, values)))
