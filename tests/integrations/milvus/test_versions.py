"""The tests of this folder and the contract of stores, with the oldest and the newest pymilvus in environments of their own."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from support.paths import ROOT

NEEDED = [
    "huggingface-hub",
    "milvus-lite",
    "milvus==2.3.5; sys_platform == 'linux' and platform_machine == 'x86_64'",
    "ml-dtypes",
    "needledb",
    "numpy",
    "orjson",
    "pinecone",
    "pymilvus.model",
    "pytest",
    "qdrant-client",
    "qdrant-edge-py",
    "requests",
    "rich",
    "safetensors",
    "semchunk",
    "tenacity",
    "tokenizers",
    "torch",
    "typer",
]


@pytest.mark.soak
@pytest.mark.parametrize("version", ["2.6.0", "3.0.2"])
def test_the_suite_passes_with_another_pymilvus(version: str, tmp_path: Path) -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    (tmp_path / "constraints.txt").write_text("\n".join(pin for pin in pins if not pin.startswith("pymilvus==")))
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--constraint", str(tmp_path / "constraints.txt")]
    subprocess.run([*install, f"pymilvus=={version}", *NEEDED], check=True)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    tests = ["tests/integrations/milvus", "tests/contract", "-k", "milvus", "-m", "not soak"]
    done = subprocess.run([python, "-m", "pytest", *tests], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    sys.stdout.write(done.stdout[-5000:])
    assert done.returncode == 0, done.stdout[-5000:]
