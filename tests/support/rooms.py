"""The imports between the product's modules, read from their source: who imports whom, circles and floors.

Run as `python tests/support/rooms.py [CHECKOUT]` to print the counts of a checkout. A room is a module beside the others, or a
whole package (taskvec/checkpoint, taskvec_integrations/qdrant); an arrow means that one room imports another.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOTS = ("core", "integrations")
HOUSES = ("taskvec", "taskvec_integrations", "haystack_integrations.components.embedders.taskvec")
"""The packages whose parts are rooms; a longer name stands for a package that is a room as a whole."""

Graph = Mapping[str, set[str]]
"""For each name the names that it imports."""


def modules(checkout: Path) -> dict[str, Path]:
    """Every product module of a checkout by its dotted name."""
    found = {}
    for root in ROOTS:
        for path in sorted((checkout / root).rglob("*.py")):
            parts = path.relative_to(checkout / root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path) -> Iterator[str]:
    """The dotted names that a file imports, anywhere in it; for `from a import b` both a and a.b."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def file_graph(checkout: Path) -> dict[str, set[str]]:
    """The imports between product modules. A module that is imported from a package is an import of that module alone."""
    files = modules(checkout)
    graph: dict[str, set[str]] = {}
    for name, path in files.items():
        names = {found for found in imported(path) if found in files}
        graph[name] = {found for found in names if not any(other.startswith(f"{found}.") for other in names)} - {name}
    return graph


def room(name: str) -> str:
    """The room that a module is in."""
    house = max((house for house in HOUSES if f"{name}.".startswith(f"{house}.")), key=len)
    inside = name.removeprefix(house).lstrip(".")
    return house if "haystack" in house or not inside else f"{house}.{inside.partition('.')[0]}"


def room_graph(checkout: Path) -> dict[str, set[str]]:
    """The imports between rooms."""
    graph: dict[str, set[str]] = {}
    for name, names in file_graph(checkout).items():
        graph.setdefault(room(name), set()).update({room(other) for other in names} - {room(name)})
    return graph


def circle(graph: Graph) -> list[str]:
    """The names of an import circle, empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def floors(graph: Graph) -> int:
    """How many floors a graph without circles has: each name stands above all that it imports."""
    heights: dict[str, int] = {}
    for name in TopologicalSorter(graph).static_order():
        heights[name] = 1 + max((heights[other] for other in graph.get(name, ())), default=0)
    return max(heights.values(), default=0)


def main() -> None:
    """Print the counts of a checkout."""
    checkout = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2]
    for title, graph in (("rooms", room_graph(checkout)), ("files", file_graph(checkout))):
        arrows = sum(map(len, graph.values()))
        found = circle(graph)
        state = f"a circle: {' -> '.join(found)}" if found else f"{floors(graph)} floors, no circle"
        print(f"{len(graph)} {title}, {arrows} arrows, {state}")


if __name__ == "__main__":
    main()
