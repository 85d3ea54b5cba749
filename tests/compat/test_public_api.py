"""The public names and how they are called: everything in public_api.json is there, with the signature it was recorded with.

A name may be added, and a parameter with a default. To record anew, after a change that a release announces: record.py.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from compat.compare import differences
from taskvec_integrations.server import ServerSettings

FOLDER = Path(__file__).parent
RECORDED: dict[str, Any] = json.loads((FOLDER / "public_api.json").read_text())


@pytest.fixture(scope="module")
def now() -> dict[str, Any]:
    """The same record of the code as it is, made in a process of its own: `main` changes how it warns."""
    here = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, FOLDER / "record.py"], env=here, capture_output=True, text=True)
    assert not done.returncode, f"a public path cannot be imported:\n{done.stderr}"
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def check(recorded: Any, found: Any, place: str) -> None:
    lost = list(differences(recorded, found, place))
    assert not lost, "users hold this and would lose it:\n" + "\n".join(lost)


@pytest.mark.parametrize("path", RECORDED["names"])
def test_name(now: dict[str, Any], path: str) -> None:
    check(RECORDED["names"][path], now["names"].get(path), path)


@pytest.mark.parametrize("command", RECORDED["commands"])
def test_command(now: dict[str, Any], command: str) -> None:
    check(RECORDED["commands"][command], now["commands"].get(command), f"taskvec {command}")


@pytest.mark.parametrize("route", RECORDED["routes"])
def test_route(now: dict[str, Any], route: str) -> None:
    check(RECORDED["routes"][route], now["routes"].get(route), route)


@pytest.mark.parametrize("section", ["metrics", "extras", "scripts"])
def test_package(now: dict[str, Any], section: str) -> None:
    check({section: RECORDED[section]}, now, "taskvec")


SETTINGS: dict[str, tuple[str, Any]] = {
    "served_model_names": ("small, large", ("small", "large")),
    "default_task": ("separation", "separation"),
    "api_keys": ("first,second", (SecretStr("first"), SecretStr("second"))),
    "recognise_instructions": ("true", True),
    "max_inputs": ("7", 7),
    "max_body_mib": ("7.5", 7.5),
    "max_bodies_mib": ("7.5", 7.5),
    "max_requests": ("7", 7),
    "max_waiting_tokens": ("7", 7),
    "patience": ("7.5", 7.5),
    "body_seconds": ("7.5", 7.5),
    "send_seconds": ("7.5", 7.5),
}
"""By field of ServerSettings a value in the environment, and what it means."""


def test_all_settings_are_tried() -> None:
    recorded = RECORDED["names"]["taskvec_integrations.server:ServerSettings"]["fields"]
    assert {field.partition(" = ")[0] for field in recorded} == SETTINGS.keys() | {"api_key_file"}


@pytest.mark.parametrize("name", SETTINGS)
def test_server_settings_are_given_by_name_and_by_environment(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    text, value = SETTINGS[name]
    assert getattr(ServerSettings(**{name: value}), name) == value
    monkeypatch.setenv(f"TASKVEC_{name.upper()}", text)
    assert getattr(ServerSettings(), name) == value


def test_keys_are_read_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("first\n")
    monkeypatch.setenv("TASKVEC_API_KEY_FILE", str(tmp_path / "keys"))
    assert ServerSettings().opens("first")
    assert not ServerSettings().opens("second")


METHOD = {"kind": "method", "parameters": {"texts": "positional or keyword", "late": "keyword-only = False"}}
CLASS = {"kind": "class", "bases": ["ValueError"], "fields": ["texts", "tokens"], "members": {"encode": METHOD}}
OPTION = {"value": ["a", "b"], "repeats": False, "required": False, "default": "'a'", "environment": "TASKVEC_A"}


def with_parameters(**changed: str) -> dict[str, Any]:
    return {**METHOD, "parameters": {**METHOD["parameters"], **changed}}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("recorded", "found", "expected"),
    [
        (METHOD, None, "is missing"),
        (METHOD, {"kind": "method", "parameters": {"texts": "positional or keyword"}}, "late was"),
        (METHOD, with_parameters(late="keyword-only = True"), "late was 'keyword-only = False'"),
        (METHOD, with_parameters(late="keyword-only"), "late was"),
        (METHOD, with_parameters(texts="keyword-only"), "texts was"),
        (METHOD, with_parameters(extra="keyword-only"), "extra is new and has no default"),
        (METHOD, {**METHOD, "parameters": {"path": "positional or keyword = ''", **METHOD["parameters"]}}, "the order was"),  # type: ignore[dict-item]
        (METHOD, {**METHOD, "kind": "coroutine method"}, "'method' was recorded"),
        (CLASS, {**CLASS, "members": {}}, "encode is missing"),
        (CLASS, {**CLASS, "bases": []}, "'ValueError' is missing"),
        (CLASS, {**CLASS, "fields": ["texts"]}, "'tokens' is missing"),
        ({**CLASS, "bases": ["tuple"]}, {**CLASS, "bases": ["tuple"], "fields": ["texts", "tokens", "more"]}, "was recorded"),
        ({"values": {"A": {"value": "a"}}}, {"values": {"A": {"value": "b"}}}, "'a' was recorded"),
        ({"attributes": ["device"]}, {"attributes": []}, "'device' is missing"),
        (OPTION, {**OPTION, "value": ["a"]}, "'b' is missing"),
        (OPTION, {**OPTION, "value": "flag"}, "was recorded"),
        (OPTION, {**OPTION, "default": "'b'"}, "was recorded"),
        (OPTION, {**OPTION, "required": True}, "is required now"),
        (OPTION, {**OPTION, "environment": None}, "was recorded"),
    ],
)
def test_losses_are_seen(recorded: Any, found: Any, expected: str) -> None:
    assert [line for line in differences(recorded, found, "here") if expected in line]


@pytest.mark.parametrize(
    ("recorded", "found"),
    [
        (METHOD, with_parameters(extra="keyword-only = None")),
        (METHOD, with_parameters(more="positional or keyword = 1")),
        (CLASS, {**CLASS, "members": {"encode": METHOD, "run": METHOD}, "fields": ["texts", "tokens", "more"]}),
        ({"attributes": ["device"]}, {"members": {"device": {"kind": "property"}}}),
        (with_parameters(late="keyword-only = (left out)"), METHOD),
        (OPTION, {**OPTION, "value": ["a", "b", "c"]}),
        ({**OPTION, "environment": None}, OPTION),
    ],
)
def test_what_is_new_is_no_loss(recorded: Any, found: Any) -> None:
    assert not list(differences(recorded, found, "here"))
