"""The shape of the house: who may import whom, and that importing taskvec costs nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from support.paths import ROOT
from support.rooms import circle, file_graph, room_graph

CORE = sorted((ROOT / "core").rglob("*.py"))
ALLOWED = {"torch", "tokenizers", "safetensors", "huggingface_hub", "numpy", "rich", "taskvec"}
ADAPTERS = ROOT / "integrations" / "taskvec_integrations"
HAYSTACK = ROOT / "integrations" / "haystack_integrations"
COMPONENTS = HAYSTACK / "components" / "embedders" / "taskvec"
VENDORS = {
    COMPONENTS: {"haystack", "haystack_integrations", "numpy"},
    ADAPTERS / "llama_index": {"llama_index", "llama_index_instrumentation", "torch"},
    ADAPTERS / "milvus": {"grpc", "milvus_lite", "ml_dtypes", "numpy", "pymilvus"},
    ADAPTERS / "pinecone": {"numpy", "orjson", "pinecone", "tenacity", "urllib3"},
    ADAPTERS / "qdrant": {"grpc", "httpx", "numpy", "pydantic", "qdrant_client"},
}
"""What the modules of each vendor import beside taskvec and what all adapters share."""


INTEGRATIONS = sorted((ROOT / "integrations").rglob("*.py"))
INSIDE = {
    # `taskvec doctor` and `taskvec models` look inside: at devices, kernels and what a folder holds.
    "cli/machine.py": {"taskvec.attention", "taskvec.devices", "taskvec.kernels.linear", "taskvec.linear"},
    "cli/models.py": {"taskvec.checkpoint.hub", "taskvec.checkpoint.read"},
    # The server's scheduler packs the texts of many calls.
    "server/jobs.py": {"taskvec.packing", "taskvec.pipeline"},
    "server/queue.py": {"taskvec.packing"},
    "server/scheduler.py": {"taskvec.packing", "taskvec.pipeline"},
    "server/service.py": {"taskvec.pipeline"},
}
"""The modules inside core that an integration may import beside taskvec.integration, and why."""


def modules(path: Path) -> set[str]:
    """The modules a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names.add(node.module or "")
    return names


def imports(path: Path) -> set[str]:
    """The top-level packages a file imports, anywhere in it, without Python's own."""
    return {name.partition(".")[0] for name in modules(path)} - set(sys.stdlib_module_names)


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.name)
def test_core_imports_its_few_dependencies_only(path: Path) -> None:
    assert imports(path) <= ALLOWED


@pytest.mark.parametrize(
    "path", sorted([*ADAPTERS.glob("*.py"), *(ADAPTERS / "ingestion").glob("*.py")]), ids=lambda path: path.name
)
def test_what_all_adapters_share_imports_no_vendor(path: Path) -> None:
    own = {"grpc_errors.py": {"grpc"}}  # which the SDKs of several databases bring
    assert imports(path) <= {"taskvec", "taskvec_integrations", "numpy", "semchunk", "tenacity"} | own.get(path.name, set())


@pytest.mark.parametrize("folder", VENDORS, ids=lambda folder: folder.name)
def test_adapters_import_their_own_vendor_and_never_each_other(folder: Path) -> None:
    others = tuple(f"taskvec_integrations.{other.name}" for other in VENDORS if other not in (folder, *folder.parents))
    assert sorted(folder.rglob("*.py"))
    for path in folder.rglob("*.py"):
        assert imports(path) <= VENDORS[folder] | {"taskvec", "taskvec_integrations"}, path
        assert not [name for name in modules(path) if name.startswith(others)], path


@pytest.mark.parametrize("path", sorted((ADAPTERS / "cli").glob("*.py")), ids=lambda path: path.name)
def test_commands_reach_databases_through_their_urls_only(path: Path) -> None:
    vendors = {"qdrant_client", "pymilvus", "pinecone", "ray", "pyarrow"}
    adapters = tuple(f"taskvec_integrations.{folder.name}" for folder in VENDORS)
    assert not imports(path) & vendors
    assert not [name for name in modules(path) if name.startswith(adapters)]


@pytest.mark.parametrize("path", INTEGRATIONS, ids=lambda path: "/".join(path.parts[-2:]))
def test_integrations_reach_core_through_its_public_modules(path: Path) -> None:
    inner = {name for name in modules(path) if name.startswith("taskvec.")} - {"taskvec.integration"}
    assert inner <= INSIDE.get("/".join(path.parts[-2:]), set()), f"import it from taskvec.integration, or add it there: {inner}"


def test_the_exceptions_are_used() -> None:
    named = {name for names in INSIDE.values() for name in names}
    assert named <= {name for path in INTEGRATIONS for name in modules(path)}


def test_there_is_no_import_circle() -> None:
    assert circle(file_graph(ROOT)) == []
    assert circle(room_graph(ROOT)) == []


def test_nothing_imports_the_fronts_but_fronts() -> None:
    folders = ("cli", "demo", "ray", "server")
    fronts = {path for name in folders for path in (ADAPTERS / name).glob("*.py")}
    for path in {*ADAPTERS.rglob("*.py"), *HAYSTACK.rglob("*.py")} - fronts:
        assert not [
            name for name in modules(path) if name.startswith(tuple(f"taskvec_integrations.{name}" for name in folders))
        ], path
    for path in (ADAPTERS / "ray").glob("*.py"):
        assert imports(path) <= {"numpy", "pyarrow", "ray", "taskvec", "taskvec_integrations", "torch"}, path


@pytest.mark.parametrize("folder", ["core", "integrations"])
def test_no_package_swallows_the_roots(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()
    packages = {path for path in (ROOT / folder).iterdir() if path.is_dir() and not path.name.startswith("_")}
    assert packages
    assert all((path / "py.typed").exists() for path in packages - {HAYSTACK})


def test_no_package_swallows_the_integrations_of_haystack() -> None:
    """Other distributions install beside ours, so what lies above it is a namespace."""
    assert [path.parent for path in HAYSTACK.rglob("__init__.py")] == [COMPONENTS]
    assert [path.parent for path in HAYSTACK.rglob("py.typed")] == [COMPONENTS]


def test_import_is_light() -> None:
    code = "import sys, taskvec; taskvec.Task; print(sorted({'torch', 'numpy', 'tokenizers', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "core", capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_public_names() -> None:
    import taskvec

    assert set(taskvec.__all__) >= {"Encoder", "Task", "shared_encoder", "quantize"}
    for name in taskvec.__all__:
        assert getattr(taskvec, name) is not None
        assert name in dir(taskvec)
    with pytest.raises(AttributeError, match="no attribute 'encode'"):
        taskvec.encode  # noqa: B018
