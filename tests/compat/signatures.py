"""What record.py says of parameters and base classes, and which of them are a vendor's."""

import inspect
from collections.abc import Callable
from typing import Any, Unpack, get_args, get_origin

OURS = ("taskvec", "taskvec_integrations", "haystack_integrations")

Entry = dict[str, Any]


def bases_of(kind: type, public: set[str]) -> set[str]:
    """Public bases: ours by name, and of others those nearest to our classes, whose own bases are their vendors' affair."""
    vendors: list[type] = []
    for base in kind.__mro__[1:-1]:
        if not is_ours(base) and not any(issubclass(vendor, base) for vendor in vendors):
            vendors.append(base)
    return {base.__name__ for base in vendors} | {base.__name__ for base in kind.__mro__[1:] if is_ours(base)} & public


def is_ours(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in OURS


def parameters(function: Callable[..., Any], skip_first: bool = False) -> dict[str, str]:
    """Kind and default of each parameter; the keys of `**options: Unpack[...]` are parameters of their own."""
    found: dict[str, str] = {}
    for parameter in list(inspect.signature(function).parameters.values())[skip_first:]:
        if get_origin(parameter.annotation) is Unpack:
            (options,) = get_args(parameter.annotation)
            names = sorted(options.__required_keys__ | options.__optional_keys__)
            found |= dict.fromkeys(names, "keyword-only = (left out)")
        else:
            has_default = parameter.default is not parameter.empty
            default = f" = {stable(parameter.default)}" if has_default else ""
            found[parameter.name] = f"{parameter.kind.description}{default}"
    return found


def stable(default: object) -> str:
    """A default as text that is the same in every process."""
    shown = repr(default)
    return shown if isinstance(default, str | int | float | tuple | None) or shown == "<factory>" else type(default).__name__


def kind_of(*methods: Any) -> str:
    """What a method is, which a wrapper without `async` does not show."""
    return "coroutine method" if any(map(inspect.iscoroutinefunction, methods)) else "method"


def find_vendor(kind: type, name: str, found: dict[str, str]) -> tuple[str, Any] | None:
    """The method of a vendor's base class that has the same parameters, and how it is called; also of `upload` for `aupload`."""
    for base in (base for base in kind.__mro__ if not is_ours(base)):
        for candidate in (name, name[1:]):
            vendor = getattr(vars(base).get(candidate), "__func__", vars(base).get(candidate))
            if inspect.isfunction(vendor) and parameters(vendor, skip_first=True) == found:
                return f"{base.__name__}.{candidate}", vendor
    return None
