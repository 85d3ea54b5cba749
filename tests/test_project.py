"""The project's own papers tell the truth: versions agree, files and targets that are named exist."""

import re
import tomllib

import pytest

from support.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = dict(re.findall(r"(?m)^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8")))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_pre_commit_runs_the_pinned_linters() -> None:
    found = dict(re.findall(r"repo: https://github.com/\S+/(\S+)\n    rev: v(\S+)", read(".pre-commit-config.yaml")))
    assert found == {"ruff-pre-commit": PINS["ruff"], "codespell": PINS["codespell"]}


def test_one_version() -> None:
    assert f"\nversion: {PROJECT['version']}\n" in read("CITATION.cff")
    assert f"\n## [{PROJECT['version']}]" in read("CHANGELOG.md")


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_what_a_document_names_exists(document: str) -> None:
    files = {
        str(path.relative_to(ROOT)) for folder in ("core", "integrations", "tests") for path in (ROOT / folder).rglob("*.py")
    }
    text = read(document)
    named = set(re.findall(r"[\w/]*\w\.py\b", text))
    assert named
    assert not {name for name in named if not any(f"/{file}".endswith(f"/{name}") for file in files)}
    assert not {path for path in re.findall(r"\]\((?!https?:)([^)#]+)\)", text) if not (ROOT / path).exists()}


def test_the_picture_of_the_house_stays_small() -> None:
    assert len(read("ARCHITECTURE.md").splitlines()) <= 200
    assert read("ARCHITECTURE.md").count("```mermaid") == 3


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"(?m)^([\w-]+):", read("Makefile")))
    for document in ("README.md", "CONTRIBUTING.md"):
        assert set(re.findall(r"\bmake (\w+)\b(?= *(?:`|#|and\b|\n))", read(document))) <= targets, document


def test_workflows_are_yaml_and_run_what_everybody_runs() -> None:
    yaml = pytest.importorskip("yaml")
    for path in (ROOT / ".github").rglob("*.yml"):
        assert yaml.safe_load(path.read_text(encoding="utf-8")), path
    assert "bash .ci/run" in read(".github/workflows/ci.yml")
