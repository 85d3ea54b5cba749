"""Records the names that users hold: import paths with signatures and fields, commands, routes, extras. Writes JSON to stdout.

    python tests/compat/record.py > tests/compat/public_api.json

Methods that our classes inherit from a vendor are left out: they change with the vendor's version. A method of ours with the
vendor's own signature is recorded by the vendor's name.
"""

import dataclasses
import inspect
import json
import sys
import tomllib
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, is_typeddict

sys.path.insert(0, str(Path(__file__).parents[1]))

from compat.commands import record_commands
from compat.instances import INSTANCES
from compat.routes import record_server
from compat.signatures import Entry, bases_of, find_vendor, is_ours, kind_of, parameters, stable

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"

PUBLIC: Mapping[str, tuple[str, ...] | None] = {
    "taskvec": None,
    "taskvec_integrations.cli": ("main",),
    "taskvec_integrations.llama_index": None,
    "taskvec_integrations.milvus": None,
    "taskvec_integrations.pinecone": None,
    "taskvec_integrations.qdrant": None,
    "taskvec_integrations.ray": None,
    "taskvec_integrations.server": None,
    "taskvec_integrations.store": None,
    "taskvec_integrations.store_url": ("StoreURL",),
    "haystack_integrations.components.embedders.taskvec": None,
    "haystack_integrations.components.embedders.taskvec.document_embedder": ("TaskvecDocumentEmbedder",),
    "haystack_integrations.components.embedders.taskvec.text_embedder": ("TaskvecTextEmbedder",),
}
"""By module its public names; None stands for its `__all__`."""

DUNDERS = {"__aenter__", "__aexit__", "__enter__", "__exit__", "__getattr__", "__str__"}
"""Methods that Python calls, whatever the names of their parameters."""
LINE = 130


def record_names() -> dict[str, Entry]:
    """Every public name as "module:name"."""
    modules = {path: import_module(path) for path in PUBLIC}
    paths = [(path, name) for path, names in PUBLIC.items() for name in names or sorted(modules[path].__all__)]
    public = {name for _, name in paths}
    entries: dict[str, Entry] = {}
    known: dict[int, str] = {}
    for path, name in paths:
        thing, whole = getattr(modules[path], name), f"{path}:{name}"
        first = known.setdefault(id(thing), whole)
        entries[whole] = describe(thing, name, public) if first == whole else {"kind": "another path", "of": first}
    return entries


def describe(thing: Any, name: str, public: set[str]) -> Entry:
    """What is recorded of a class, a function or a type alias."""
    if get_origin(thing) is Literal:
        return {"kind": "literal", "values": list(get_args(thing))}
    if is_typeddict(thing):
        return {
            "kind": "typed dict",
            "required keys": sorted(thing.__required_keys__),
            "optional keys": sorted(thing.__optional_keys__),
        }
    if not inspect.isclass(thing):
        return {"kind": "function", "parameters": parameters(thing)} if inspect.isroutine(thing) else {"kind": "constant"}
    entry: Entry = {"kind": "class", "bases": sorted(bases_of(thing, public))}
    if issubclass(thing, Enum):
        return {**entry, "values": {member.name: enum_details(member) for member in thing}}
    fields, constructor = fields_of(thing), constructor_of(thing)
    entry |= {"fields": fields} if fields else {}
    entry |= {"parameters": constructor} if constructor else {}
    if name in INSTANCES:
        entry["attributes"] = sorted(attribute for attribute in vars(INSTANCES[name]()) if not attribute.startswith("_"))
    return {**entry, "members": dict(sorted(members(thing, set(fields))))}


def enum_details(member: Enum) -> Entry:
    """The value of a member and what stands beside it."""
    return {"value": member.value} | {name: value for name, value in vars(member).items() if not name.startswith("_")}


def fields_of(kind: Any) -> list[str]:
    """The fields of a dataclass, a NamedTuple or a pydantic model, as far as our classes declare them; in order."""
    if hasattr(kind, "model_fields"):
        declared = {name for base in kind.__mro__ if is_ours(base) for name in vars(base).get("__annotations__", {})}
        given = {name: field for name, field in kind.model_fields.items() if name in declared}
        return [f"{each} = {pydantic_default(field)}" for name, field in given.items() for each in names_of(name, field)]
    named = [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else getattr(kind, "_fields", ())
    return [name for name in named if not name.startswith("_")]


def names_of(name: str, field: Any) -> list[str]:
    """A field's own name and those that it has beside it."""
    aliases = getattr(field.validation_alias, "choices", [field.validation_alias])
    return [name, *(alias for alias in aliases if isinstance(alias, str) and alias != name)]


def pydantic_default(field: Any) -> str:
    return "required" if field.is_required() else stable(field.get_default(call_default_factory=False))


def constructor_of(kind: Any) -> dict[str, str]:
    """The parameters of a constructor that our classes define; those of pydantic models are their fields."""
    if not hasattr(kind, "model_fields"):
        for name in ("__init__", "__new__"):
            if any(name in vars(base) for base in kind.__mro__ if is_ours(base)):
                return parameters(getattr(kind, name), skip_first=True)
    return {}


def members(kind: type, fields: set[str]) -> Iterator[tuple[str, Any]]:
    """Public methods, properties and class attributes that our classes define; the first one of a name counts."""
    seen = {field.partition(" ")[0] for field in fields}
    for base in filter(is_ours, kind.__mro__):
        for name, raw in vars(base).items():
            if name in seen or not (name in {*DUNDERS, "__call__"} or not name.startswith(("_", "model_"))):
                continue
            seen.add(name)
            yield name, describe_member(kind, name, raw)


def describe_member(kind: type, name: str, raw: object) -> Entry:
    if isinstance(raw, property | cached_property):
        return {"kind": "property"}
    if name in DUNDERS:
        return {"kind": "method"}
    if not callable(raw) and not isinstance(raw, classmethod | staticmethod):
        return {"kind": "attribute"}
    method, found = getattr(kind, name), parameters(getattr(kind, name), skip_first=inspect.isfunction(raw))
    if vendor := find_vendor(kind, name, found):
        return {"kind": kind_of(method, vendor[1]), "signature of": vendor[0]}
    return {"kind": kind_of(method), "parameters": found}


def record() -> dict[str, Any]:
    """All of it."""
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    return {
        "names": record_names(),
        "commands": record_commands(),
        **record_server(),
        "extras": sorted(project["optional-dependencies"]),
        "scripts": project["scripts"],
    }


def lay_out(value: Any, depth: int = 0, before: int = 0) -> str:
    """JSON in which whatever fits into a line is in one; `before` characters of the line are taken."""
    flat = json.dumps(value, ensure_ascii=False)
    if depth + before + len(flat) < LINE or not isinstance(value, dict | list):
        return flat
    keys = [f"{json.dumps(key)}: " for key in value] if isinstance(value, dict) else [""] * len(value)
    items = value.values() if isinstance(value, dict) else value
    parts = [f"{' ' * (depth + 1)}{key}{lay_out(item, depth + 1, len(key))}" for key, item in zip(keys, items, strict=True)]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return "\n".join([opening, ",\n".join(parts), " " * depth + closing])


if __name__ == "__main__":
    print(lay_out(record()))
