"""Settings of the server: keys, files of keys, the environment, hosts that are open to others."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from taskvec_integrations.server.settings import ServerSettings, check_host


@pytest.mark.parametrize("keys", [("",), (" ",), "  ,  ", ("good", "")])
def test_an_empty_key_is_refused(keys: Any) -> None:
    with pytest.raises(ValueError, match=r"is empty|has no value"):
        ServerSettings(api_keys=keys)


def test_what_is_empty_in_the_environment_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TASKVEC_API_KEYS", "TASKVEC_API_KEY_FILE", "TASKVEC_MAX_INPUTS"):
        monkeypatch.setenv(name, "")
    assert ServerSettings() == ServerSettings(max_inputs=2048)


def test_a_key_file_of_another_editor(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes("\ufefffirst\r\n  # a remark\r\n".encode())
    settings = ServerSettings(api_key_file=tmp_path / "keys")
    assert (settings.opens("first"), settings.opens("# a remark"), settings.opens("")) == (True, False, False)


def test_keys_are_not_shown() -> None:
    settings = ServerSettings(api_keys=(SecretStr("secret-1"),))
    for text in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert "secret-1" not in text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", ""])
def test_other_machines_are_not_let_in_without_a_key(host: str) -> None:
    with pytest.raises(ValueError, match="TASKVEC_API_KEYS"):
        check_host(host, ServerSettings(), insecure=False)
    check_host(host, ServerSettings(api_keys=(SecretStr("a"),)), insecure=False)
    check_host(host, ServerSettings(), insecure=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_loopback_needs_no_key(host: str) -> None:
    check_host(host, ServerSettings(), insecure=False)


@pytest.mark.parametrize("name", ["recognize_instructions", "recognise_instructions"])
def test_both_spellings_recognize_instructions(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not ServerSettings().recognize_instructions
    by_argument = ServerSettings.model_validate({name: True})
    monkeypatch.setenv(f"TASKVEC_{name.upper()}", "true")
    for settings in (by_argument, ServerSettings()):
        assert settings.recognize_instructions
        assert settings.recognise_instructions
    assert not ServerSettings.model_validate({name: False}).recognize_instructions
