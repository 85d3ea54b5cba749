"""The shape of the house: who may import whom, and that importing taskvec costs nothing."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = sorted((ROOT / "core").rglob("*.py"))
ALLOWED = {"torch", "tokenizers", "safetensors", "huggingface_hub", "numpy", "rich", "taskvec"}


def imports(path: Path) -> set[str]:
    """The top-level packages a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names.add((node.module or "").partition(".")[0])
    return names - set(sys.stdlib_module_names)


SHARED = {"taskvec", "taskvec_integrations", "numpy"}
VENDORS = {
    "milvus": {"grpc", "ml_dtypes", "pymilvus"},
    "pinecone": {"pinecone", "orjson", "tenacity", "urllib3"},
    "qdrant": {"grpc", "httpx", "pydantic", "qdrant_client"},
}
"""What each vendor's module imports besides."""


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.name)
def test_core_imports_its_few_dependencies_only(path: Path) -> None:
    assert imports(path) <= ALLOWED


@pytest.mark.parametrize(
    "path", sorted((ROOT / "integrations" / "taskvec_integrations").glob("*.py")), ids=lambda path: path.name
)
def test_what_all_adapters_share_imports_no_vendor(path: Path) -> None:
    if path.name not in ("cli.py", "demo.py"):  # the fronts
        assert imports(path) <= {"taskvec", "taskvec_integrations", "numpy", "semchunk", "tenacity"}


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_vendors_module_imports_no_other_vendor(vendor: str) -> None:
    paths = sorted((ROOT / "integrations" / "taskvec_integrations" / vendor).glob("*.py"))
    assert set().union(*map(imports, paths)) <= SHARED | VENDORS[vendor]
    others = "|".join(VENDORS.keys() - {vendor})
    for path in paths:
        assert not re.search(rf"taskvec_integrations\.({others})\b", path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize("folder", ["core", "integrations"])
def test_no_package_swallows_the_roots(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()
    packages = [path for path in (ROOT / folder).iterdir() if path.is_dir() and not path.name.startswith("_")]
    assert packages
    assert all((path / "py.typed").exists() for path in packages)


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
