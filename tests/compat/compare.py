"""Compares what record.py recorded with what it finds now: everything must still be there; more may have come.

A difference is one line that names the place, what was recorded and what is there.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Entry = Mapping[str, Any]


def differences(recorded: Entry, now: Entry | None, place: str) -> Iterator[str]:
    """What the entry of a name, a member or a command has lost."""
    if now is None:
        yield f"{place} is missing"
        return
    for section, value in recorded.items():
        yield from SECTIONS.get(section, equal)(value, now.get(section), f"{place}, {section}", now)


def equal(value: object, now: object, place: str, entry: Entry) -> Iterator[str]:
    """For what may not change at all."""
    if value != now:
        yield f"{place}: {value!r} was recorded, there is {now!r}"


def subset(value: list[str], now: list[str] | None, place: str, entry: Entry) -> Iterator[str]:
    """For lists that may grow."""
    for item in value:
        if item not in (now or ()):
            yield f"{place}: {item!r} is missing, there is {now!r}"


def fields(value: list[str], now: list[str] | None, place: str, entry: Entry) -> Iterator[str]:
    """Fields may be added, to a tuple not even that, as it is unpacked."""
    yield from equal(value, now, place, entry) if "tuple" in entry.get("bases", ()) else subset(value, now, place, entry)


def attributes(value: list[str], now: list[str] | None, place: str, entry: Entry) -> Iterator[str]:
    """An attribute may have become a property."""
    yield from subset(value, [*(now or ()), *entry.get("members", ()), *entry.get("fields", ())], place, entry)


def each(value: Mapping[str, Entry], now: Mapping[str, Entry] | None, place: str, entry: Entry) -> Iterator[str]:
    """For what has entries of its own."""
    for name, item in value.items():
        yield from differences(item, (now or {}).get(name), f"{place.rpartition(', ')[0]}.{name}")


def parameters(value: Mapping[str, str], now: Mapping[str, str] | None, place: str, entry: Entry) -> Iterator[str]:
    """Whoever calls with the recorded parameters still can: no one is lost, moved or required, no default has changed."""
    now = now or {}
    for name, recorded in value.items():
        found = now.get(name) or next((kind for kind in now.values() if kind == recorded and kind.startswith("variadic")), None)
        if found is None or not accepts(recorded, found):
            yield f"{place}: {name} was {recorded!r}, there is {found!r}"
    places, moved = positional(value), positional(now)
    if moved[: len(places)] != places:
        yield f"{place}: the order was {', '.join(places)}; now it is {', '.join(moved)}"
    for name in now.keys() - value.keys():
        if " = " not in now[name] and not now[name].startswith("variadic"):
            yield f"{place}: {name} is new and has no default"


def positional(given: Mapping[str, str]) -> list[str]:
    return [name for name, kind in given.items() if kind.startswith("positional")]


def accepts(recorded: str, found: str) -> bool:
    """Whether a parameter takes what it took; one that was left out by default may have a default of its own now."""
    (kind, _, default), (new_kind, _, new_default) = recorded.partition(" = "), found.partition(" = ")
    same_default = default in ("", new_default) or (default == "(left out)" and new_default != "")
    return same_default and (kind == new_kind or (kind, new_kind) == ("keyword-only", "positional or keyword"))


def required(value: bool, now: object, place: str, entry: Entry) -> Iterator[str]:
    """What could be left out can be left out."""
    if not value and now:
        yield f"{place}: it could be left out, and is required now"


def environment(value: str | None, now: object, place: str, entry: Entry) -> Iterator[str]:
    """An option may get an environment variable, not lose or change it."""
    yield from equal(value, now, place, entry) if value else ()


def choices(value: object, now: object, place: str, entry: Entry) -> Iterator[str]:
    """The value of an option: its type, or a list of words, which may grow."""
    if isinstance(value, list) and isinstance(now, list):
        yield from subset(value, now, place, entry)
    else:
        yield from equal(value, now, place, entry)


def words(value: Any, now: Any, place: str, entry: Entry) -> Iterator[str]:
    """The members of an enum with what belongs to each, or the words of a Literal; more may come."""
    yield from (each if isinstance(value, dict) else subset)(value, now, place, entry)


SECTIONS: Mapping[str, Callable[..., Iterator[str]]] = {
    "attributes": attributes,
    "bases": subset,
    "environment": environment,
    "extras": subset,
    "fields": fields,
    "members": each,
    "metrics": subset,
    "optional keys": subset,
    "options": each,
    "parameters": parameters,
    "required": required,
    "value": choices,
    "values": words,
}
"""How each section of an entry is compared; all others must be equal."""
