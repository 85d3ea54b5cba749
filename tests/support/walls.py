"""The walls of the house: who may import whom. Each check reads a checkout's source and gives what breaks it, one line each."""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

TI = "integrations/taskvec_integrations"
HAYSTACK = "integrations/haystack_integrations/components/embedders/taskvec"

CORE_NEEDS = {"torch", "tokenizers", "safetensors", "huggingface_hub", "numpy", "rich", "taskvec"}
SHARED_NEEDS = {"taskvec", "taskvec_integrations", "numpy", "semchunk", "tenacity"}
GRPC_ERRORS = f"{TI}/ingestion/grpc_errors.py"
"""May import grpc, which the SDKs of several databases bring."""

VENDORS = {
    HAYSTACK: {"haystack", "haystack_integrations", "numpy"},
    f"{TI}/llama_index": {"llama_index", "llama_index_instrumentation", "torch"},
    f"{TI}/milvus": {"grpc", "milvus_lite", "ml_dtypes", "numpy", "pymilvus"},
    f"{TI}/pinecone": {"numpy", "orjson", "pinecone", "tenacity", "urllib3"},
    f"{TI}/qdrant": {"grpc", "httpx", "numpy", "pydantic", "qdrant_client"},
}
"""What the modules of each vendor import beside taskvec and what all integrations share."""

RAY_NEEDS = {"numpy", "pyarrow", "ray", "taskvec", "taskvec_integrations", "torch"}
FRONTS = ("cli", "demo", "ray", "server")
"""What people start; no other room imports them."""

INSIDE = {
    # `taskvec doctor` and `taskvec models` look inside: at devices, kernels and what a folder holds.
    f"{TI}/cli/doctor_machine.py": {"taskvec.attention", "taskvec.devices", "taskvec.kernels.linear", "taskvec.linear"},
    f"{TI}/cli/models.py": {"taskvec.checkpoint.hub", "taskvec.checkpoint.read"},
    # The server's scheduler packs the texts of many calls.
    f"{TI}/server/jobs.py": {"taskvec.packing", "taskvec.pipeline"},
    f"{TI}/server/queue.py": {"taskvec.packing"},
    f"{TI}/server/scheduler.py": {"taskvec.packing", "taskvec.pipeline"},
    f"{TI}/server/service.py": {"taskvec.pipeline"},
}
"""The modules inside core that an integration may import beside taskvec.integration, and why."""


def files(checkout: Path, *folders: str) -> Iterator[tuple[str, Path]]:
    """The Python files below some folders of a checkout, each with its name from there."""
    for folder in folders:
        for path in sorted((checkout / folder).rglob("*.py")):
            yield path.relative_to(checkout).as_posix(), path


def imported(path: Path) -> set[str]:
    """The modules that a file imports, anywhere in it; AssertionError for a relative import."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def packages(path: Path) -> set[str]:
    """The top-level packages that a file imports, without Python's own."""
    return {name.partition(".")[0] for name in imported(path)} - set(sys.stdlib_module_names)


def _beyond(found: Iterable[tuple[str, Path]], allowed: set[str]) -> list[str]:
    return [f"{name} imports {package}" for name, path in found for package in sorted(packages(path) - allowed)]


def core_imports_more(checkout: Path) -> list[str]:
    """Core imports its few dependencies only, and no integration."""
    return _beyond(files(checkout, "core/taskvec"), CORE_NEEDS)


def shared_imports_a_vendor(checkout: Path) -> list[str]:
    """What all integrations share imports no vendor."""
    flat = [(name, path) for name, path in files(checkout, TI) if name.count("/") == 2]
    shared = [*flat, *files(checkout, f"{TI}/ingestion")]
    return [line for line in _beyond(shared, SHARED_NEEDS) if line != f"{GRPC_ERRORS} imports grpc"]


def vendors_import_others(checkout: Path) -> list[str]:
    """Each vendor's room imports its own vendor, and no other vendor's room."""
    broken = []
    for folder, own in VENDORS.items():
        broken += _beyond(files(checkout, folder), own | {"taskvec", "taskvec_integrations"})
        others = {other.rpartition("/")[2] for other in VENDORS} - {folder.rpartition("/")[2]}
        broken += _imports_rooms(files(checkout, folder), others)
    return broken


def cli_knows_vendors(checkout: Path) -> list[str]:
    """Commands reach databases through their URLs only."""
    found = list(files(checkout, f"{TI}/cli"))
    vendors = {"qdrant_client", "pymilvus", "pinecone", "ray", "pyarrow"}
    rooms = {folder.rpartition("/")[2] for folder in VENDORS if folder.startswith(TI)}
    return [line for line in _beyond(found, set()) if line.rpartition(" ")[2] in vendors] + _imports_rooms(found, rooms)


def fronts_are_imported(checkout: Path) -> list[str]:
    """No other room imports a front, nothing imports the command line, and Ray imports what it needs."""
    rooms = [(name, path) for name, path in files(checkout, "integrations")]
    broken = []
    for name, path in rooms:
        room = name.removeprefix(f"{TI}/").partition("/")[0]
        broken += _imports_rooms([(name, path)], {"cli"} - {room} if room in FRONTS else set(FRONTS))
    return broken + _beyond(files(checkout, f"{TI}/ray"), RAY_NEEDS)


def integrations_reach_inside(checkout: Path) -> list[str]:
    """Integrations import `taskvec` and `taskvec.integration`, and what INSIDE names."""
    inner = {".".join(path.relative_to(checkout / "core").with_suffix("").parts) for _, path in files(checkout, "core")}
    inner = {name.removesuffix(".__init__") for name in inner} - {"taskvec", "taskvec.integration"}
    return [
        f"{name} imports {module}: import it from taskvec.integration, or add it there"
        for name, path in files(checkout, "integrations")
        for module in sorted((imported(path) & inner) - INSIDE.get(name, set()))
        if not any(other.startswith(f"{module}.") for other in imported(path) & INSIDE.get(name, set()))
    ]


def classes_of_one_name(checkout: Path) -> list[str]:
    """No two product classes share a name, whether or not it begins with an underscore."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for name, path in files(checkout, "core", "integrations"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name.lstrip("_")].append(name)
    return [f"{name} is a class in {' and in '.join(where)}" for name, where in sorted(places.items()) if len(where) > 1]


def _imports_rooms(found: Iterable[tuple[str, Path]], rooms: set[str]) -> list[str]:
    names = tuple(f"taskvec_integrations.{room}" for room in rooms)
    return [
        f"{name} imports {module}"
        for name, path in found
        for module in sorted(imported(path))
        if f"{module}.".startswith(tuple(f"{room}." for room in names))
    ]
