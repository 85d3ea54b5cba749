"""Running tests with an old version of a package, such as the oldest that pyproject.toml allows, in an environment of its own."""

import os
import re
import subprocess
import venv
from collections.abc import Collection
from pathlib import Path

from support.paths import ROOT


def oldest(package: str) -> str:
    """The lower bound that pyproject.toml declares for a package."""
    declared = re.search(rf'"{package}>=([\d.]+)', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert declared, package
    return declared[1]


def run_with_oldest(package: str, extra: str, tests: str, folder: Path, *, unpinned: set[str], also: list[str]) -> str:
    """`run_with` the oldest version of a package."""
    return run_with(f"{package}=={oldest(package)}", extra, tests, folder, unpinned=unpinned, also=also)


def pins(without: Collection[str] = ()) -> list[str]:
    """The versions of constraints.txt, except those of some packages."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [pin for pin in lines if pin.partition("==")[0] not in without]


def environment(folder: Path, wanted: list[str], pinned: list[str]) -> str:
    """Install packages into a new environment, with the versions of `pinned`, and return its Python."""
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(pinned), encoding="utf-8")
    venv.create(folder / "venv", with_pip=True)
    python = str(folder / "venv" / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--constraint", str(constraints), *wanted], check=True)
    return python


def run_with(pinned: str, extra: str, tests: str, folder: Path, *, unpinned: set[str], also: list[str]) -> str:
    """Install `taskvec[extra]` with `pinned` into a new environment, run `tests` in it, and return what pytest said.

    unpinned: packages whose pinned version that one cannot live with. also: what the tests need besides.
    """
    package = pinned.partition("==")[0]
    python = environment(folder, [f"{ROOT}[{extra}]", pinned, "pytest", *also], pins({package, *unpinned}))
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([python, "-m", "pytest", tests], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout
