"""The extras: one table of what each brings, which pyproject.toml agrees with, and an error that says what to install."""

import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.paths import ROOT
from taskvec_integrations.extras import EXTRAS, MissingExtraError, require_extra

DECLARED: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]
ADAPTERS = {
    "haystack_integrations.components.embedders.taskvec": ("haystack", "haystack"),
    "taskvec_integrations.llama_index": ("llama_index.core", "llama-index"),
    "taskvec_integrations.milvus": ("pymilvus", "milvus"),
    "taskvec_integrations.pinecone": ("pinecone", "pinecone"),
    "taskvec_integrations.qdrant": ("qdrant_client", "qdrant"),
    "taskvec_integrations.ray": ("ray", "ray"),
    "taskvec_integrations.server": ("fastapi", "server"),
}


def declared(extra: str) -> list[Requirement]:
    """What pyproject.toml declares for an extra, with what it takes over from other extras."""
    found: list[Requirement] = []
    for requirement in map(Requirement, DECLARED[extra]):
        others = sorted(requirement.extras) if requirement.name == "taskvec" else []
        found += [inner for other in others for inner in declared(other)] if others else [requirement]
    return found


def brought(requirement: Requirement) -> set[str]:
    """The distributions that a requirement brings: its own, and those of its extras."""
    inner = [Requirement(line) for line in requires(requirement.name) or []] if requirement.extras else []
    marked = {one.name for one in inner for extra in requirement.extras if one.marker and one.marker.evaluate({"extra": extra})}
    return {canonicalize_name(name) for name in {requirement.name, *marked}}


def distributions(module: str) -> set[str]:
    """The installed distributions that a module may be of."""
    return {canonicalize_name(name) for name in packages_distributions()[module.partition(".")[0]]}


def test_the_table_has_the_extras_that_users_install() -> None:
    (everything,) = map(Requirement, DECLARED["all"])
    assert EXTRAS.keys() == {"store", *everything.extras}


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_table_has_what_pyproject_declares(extra: str) -> None:
    modules = {module: distributions(module) for module in EXTRAS[extra]}
    for requirement in declared(extra):
        assert [name for name, found in modules.items() if canonicalize_name(requirement.name) in found], requirement
    brings = set().union(*map(brought, declared(extra)))
    for module, found in modules.items():
        assert found & brings, f"{extra} does not bring {module}"


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_missing_module_of_an_extra_is_named(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = EXTRAS[extra][0]
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"^{module} is not installed: pip install 'taskvec\[{extra}\]'$"):
        require_extra(extra)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_missing_package_is_an_error_that_says_what_to_install(adapter: str) -> None:
    package, extra = ADAPTERS[adapter]
    code = f"import sys; sys.modules[{package.partition('.')[0]!r}] = None; import {adapter}"
    env = {"PYTHONPATH": f"{ROOT / 'core'}:{ROOT / 'integrations'}"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith(f"MissingExtraError: {package} is not installed: pip install 'taskvec[{extra}]'\n")
