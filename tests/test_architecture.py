"""The shape of the house: who may import whom, and that importing taskvec costs nothing."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support import walls
from support.paths import ROOT
from support.rooms import circle, file_graph, room_graph

COMPONENTS_ROOT = ROOT / "integrations" / "haystack_integrations"
COMPONENTS = COMPONENTS_ROOT / "components" / "embedders" / "taskvec"
QDRANT = "integrations/taskvec_integrations/qdrant/client.py"
RAY = "integrations/taskvec_integrations/ray/ingest.py"
STORE = "integrations/taskvec_integrations/store.py"

Check = Callable[[Path], list[str]]
CHECKS: tuple[Check, ...] = (
    walls.core_imports_more,
    walls.shared_imports_a_vendor,
    walls.vendors_import_others,
    walls.cli_knows_vendors,
    walls.fronts_are_imported,
    walls.integrations_reach_inside,
    walls.classes_of_one_name,
)

SEEDS: tuple[tuple[Check, str, str], ...] = (
    (walls.core_imports_more, "core/taskvec/encoder.py", "import requests"),
    (walls.core_imports_more, "core/taskvec/encoder.py", "from taskvec_integrations.store import Store"),
    (walls.shared_imports_a_vendor, STORE, "import qdrant_client"),
    (walls.vendors_import_others, QDRANT, "from taskvec_integrations.milvus.store import MilvusStore"),
    (walls.vendors_import_others, QDRANT, "import pymilvus"),
    (walls.cli_knows_vendors, "integrations/taskvec_integrations/cli/ingest.py", "from taskvec_integrations import qdrant"),
    (walls.fronts_are_imported, RAY, "from taskvec_integrations.cli.console import say"),
    (walls.fronts_are_imported, STORE, "from taskvec_integrations import server"),
    (walls.integrations_reach_inside, QDRANT, "from taskvec.tokenizer import TextTokenizer"),
    (walls.integrations_reach_inside, QDRANT, "from taskvec import pooling"),
    (walls.classes_of_one_name, QDRANT, "class _Pipeline: ..."),
)
"""A line that breaks a wall, the file that it is added to, and the check that has to find it."""


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_walls(check: Check) -> None:
    assert check(ROOT) == []


@pytest.mark.parametrize(("check", "file", "line"), SEEDS, ids=lambda value: getattr(value, "__name__", value))
def test_a_broken_wall_is_found(check: Check, file: str, line: str, tmp_path: Path) -> None:
    for folder in ("core", "integrations"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=lambda _, names: {n for n in names if n.endswith(".safetensors")}
        )
    broken = tmp_path / file
    broken.write_text(f"{broken.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    assert any(file in found for found in check(tmp_path))


def test_the_exceptions_are_used() -> None:
    for file, names in walls.INSIDE.items():
        assert names & walls.imported(ROOT / file), file
    used = {name for file in walls.INSIDE for name in walls.imported(ROOT / file)}
    assert {name for names in walls.INSIDE.values() for name in names} <= used


def test_there_is_no_import_circle() -> None:
    assert circle(file_graph(ROOT)) == []
    assert circle(room_graph(ROOT)) == []


def test_a_call_has_a_name() -> None:
    """`__call__` is for layers of tensors and for what a framework calls, so that "go to definition" finds the rest."""
    found = {
        (name, node.name)
        for name, path in walls.files(ROOT, "core", "integrations")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        for member in node.body
        if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) and member.name == "__call__"
    }
    assert {owner for _, owner in found} <= CALLED


CALLED = {
    *("AmxLinear", "Int8Linear", "Linear", "LinearLike", "PackedLinear"),  # layers of tensors
    *("Embeddings", "Norm", "Transformer"),
    "TaskvecEmbeddingFunction",  # pymilvus
    "TaskvecEmbedding",  # LlamaIndex
    "RequestMiddleware",  # ASGI
    *("EmbedChunks", "IngestPart", "RowTextEmbedder"),  # Ray Data's map_batches
}
"""The classes whose objects are called."""


@pytest.mark.parametrize("folder", ["core", "integrations"])
def test_no_package_swallows_the_roots(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()
    packages = {path for path in (ROOT / folder).iterdir() if path.is_dir() and not path.name.startswith("_")}
    assert packages
    assert all((path / "py.typed").exists() for path in packages - {COMPONENTS_ROOT})


def test_no_package_swallows_the_integrations_of_haystack() -> None:
    """Other distributions install beside ours, so what lies above it is a namespace."""
    assert [path.parent for path in COMPONENTS_ROOT.rglob("__init__.py")] == [COMPONENTS]
    assert [path.parent for path in COMPONENTS_ROOT.rglob("py.typed")] == [COMPONENTS]


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
