"""Running tests with an old version of a package, such as the oldest that pyproject.toml allows, in an environment of its own."""

import os
import re
import subprocess
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]


def oldest(package: str) -> str:
    """The lower bound that pyproject.toml declares for a package."""
    declared = re.search(rf'"{package}>=([\d.]+)', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert declared, package
    return declared[1]


def run_with_oldest(package: str, extra: str, tests: str, folder: Path, *, unpinned: set[str], also: list[str]) -> str:
    """`run_with` the oldest version of a package."""
    return run_with(f"{package}=={oldest(package)}", extra, tests, folder, unpinned=unpinned, also=also)


def run_with(pinned: str, extra: str, tests: str, folder: Path, *, unpinned: set[str], also: list[str]) -> str:
    """Install `taskvec[extra]` with `pinned` into a new environment, run `tests` in it, and return what pytest said.

    unpinned: packages whose pinned version that one cannot live with. also: what the tests need besides.
    """
    package = pinned.partition("==")[0]
    constraints = folder / "constraints.txt"
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    constraints.write_text("\n".join(pin for pin in pins if pin.partition("==")[0] not in {package, *unpinned}), encoding="utf-8")
    venv.create(folder / "venv", with_pip=True)
    python = str(folder / "venv" / "bin" / "python")
    wanted = [f"{ROOT}[{extra}]", pinned, "pytest", *also]
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--constraint", str(constraints), *wanted], check=True)
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([python, "-m", "pytest", tests], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout
