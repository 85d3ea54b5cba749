"""Every Python block of the README and every example runs, offline, with random weights in the hub cache's place of the model."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.checkpoints import Shape, random_weights, write_native
from support.paths import ROOT
from taskvec.names import DEFAULT_MODEL

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
COMMIT = "0" * 40
WARNINGS = {"ray_ingest": ("ignore::DeprecationWarning:ray.data.context", "ignore::UserWarning", "ignore::ResourceWarning")}
"""Ray's own, of names that it uses itself."""


@pytest.fixture(scope="module")
def offline_cache(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a machine that downloaded the model once; one layer of it, full width."""
    home = tmp_path_factory.mktemp("huggingface")
    repository = home / "hub" / f"models--{DEFAULT_MODEL.replace('/', '--')}"
    shape = Shape(width=1024, layers=1, heads=16, inner=256)
    write_native(repository / "snapshots" / COMMIT, random_weights(shape))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    return {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "PYTHONPATH": "core:integrations"}


def run(arguments: list[str], env: dict[str, str], warnings: tuple[str, ...] = ()) -> str:
    command = [sys.executable, "-W", "error", *arguments]
    command[3:3] = [part for warning in warnings for part in ("-W", warning)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_placeholder_is_left() -> None:
    for path in ("README.md", "core/taskvec/mini/README.md", "examples/train_mini/README.md", "benchmarks/README.md"):
        assert not re.findall(r"@[A-Z]+@|TODO|TBD", (ROOT / path).read_text(encoding="utf-8")), path


def test_there_are_blocks_and_examples() -> None:
    assert len(BLOCKS) == 10
    assert EXAMPLES


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_readme_block(block: str, offline_cache: dict[str, str]) -> None:
    assert run(["-c", block], offline_cache)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example(example: Path, offline_cache: dict[str, str]) -> None:
    assert run([str(example)], offline_cache, WARNINGS.get(example.stem, ()))
