"""`taskvec serve` as a user runs it: a process that says where it listens, stops as it should, and refuses in one sentence."""

import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import httpx
import pytest

from support.server.process import COMMAND, SERVE, Served, environment, served
from support.server.waiting import GUARD_SECONDS, wait_until
from taskvec import Task


def asking(server: Served, texts: list[str]) -> tuple[threading.Thread, list[httpx.Response]]:
    """A thread whose request waits in the queue already, and where its answer will be."""
    answers: list[httpx.Response] = []

    def ask() -> None:
        body = {"model": "mini", "input": texts, "dimensions": 8}
        answers.append(httpx.post(f"{server.url}/v1/embeddings", json=body, timeout=GUARD_SECONDS))

    thread = threading.Thread(target=ask)
    thread.start()
    wait_until(lambda: server.metric("taskvec_waiting_tokens") > 0)
    return thread, answers


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name)
def test_it_answers_what_it_has_before_it_stops(tmp_path: Path, how: signal.Signals) -> None:
    with served(tmp_path / "log", "--log-format", "json", "--stop-seconds", "300") as server:
        process, url = server.process, server.url
        thread, answers = asking(server, ["yeast makes bread rise " * 300] * 12)
        process.send_signal(how)
        thread.join(GUARD_SECONDS)
        assert process.wait(GUARD_SECONDS) in (0, -how, 130)
        assert [answer.status_code for answer in answers] == [200]
        assert len(answers[0].json()["data"]) == 12
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/health")
    assert '"message":"request"' in (tmp_path / "log").read_text()
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_what_it_does_not_finish_in_time_is_503(tmp_path: Path) -> None:
    with served(tmp_path / "log", "--stop-seconds", "1") as server:
        thread, answers = asking(server, ["yeast makes bread rise " * 1500] * 100)
        server.process.terminate()
        thread.join(GUARD_SECONDS)
        assert [answer.status_code for answer in answers] == [503]
        assert "send the request again" in answers[0].json()["detail"]


@pytest.mark.skipif(not shutil.which("openssl"), reason="there is no openssl to make a certificate")
def test_https(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1"]
    make += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(make, check=True, capture_output=True)
    with served(tmp_path / "log", "--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)) as server:
        assert server.url.startswith("https://")
        trusted = ssl.create_default_context(cafile=str(certificate))
        assert httpx.get(f"{server.url}/ready", verify=trusted).status_code == 200
    swapped = [*COMMAND, "--ssl-certfile", str(key), "--ssl-keyfile", str(certificate)]
    done = subprocess.run(swapped, capture_output=True, text=True, env=environment(), timeout=GUARD_SECONDS)
    assert done.returncode == 1
    assert f"{key} and {certificate} are not a certificate with its private key" in done.stderr


def test_settings_come_from_the_environment_too(tmp_path: Path) -> None:
    more = {"TASKVEC_API_KEYS": "one, two", "TASKVEC_MAX_INPUTS": "2"}
    with served(tmp_path / "log", "--host", "0.0.0.0", "--served-model-name", "ours", **more) as server:
        url = server.url.replace("0.0.0.0", "127.0.0.1")
        body = {"model": "ours", "input": ["a", "b", "c"]}
        assert httpx.post(f"{url}/v1/embeddings", json=body).status_code == 401
        answer = httpx.post(f"{url}/v1/embeddings", json=body, headers={"Authorization": "Bearer two"})
        assert "the request has 3 texts, the limit is 2" in answer.json()["detail"]
    assert "one" not in re.findall(r"\w+", (tmp_path / "log").read_text())


@pytest.mark.parametrize(
    ("options", "more", "sentence"),
    [
        (["--host", "0.0.0.0"], {}, "host 0.0.0.0 can be reached from other machines and no key is set: set TASKVEC_API_KEYS"),
        (["--host", "no.such.host.invalid", "--insecure"], {}, "host no.such.host.invalid cannot be found"),
        (["--default-task", "search"], {}, "unknown task 'search': use one of"),
        (["--dtype", "float17"], {}, "dtype 'float17' is not supported"),
        (["--max-inputs", "0"], {}, "max_inputs (TASKVEC_MAX_INPUTS): Input should be greater than or equal to 1"),
        (["--log-level", "loud"], {}, "log level 'loud' is unknown: use debug, info, warning, error"),
        (["--api-key-file", "/no/such/file"], {}, "/no/such/file"),
        (["--ssl-certfile", "/no/such/file"], {}, "/no/such/file"),
        ([], {"TASKVEC_PATIENCE": "long"}, "patience (TASKVEC_PATIENCE): Input should be a valid number"),
    ],
    ids=lambda value: " ".join(value)[:30] if value else "",
)
def test_it_refuses_in_one_sentence(options: list[str], more: dict[str, str], sentence: str) -> None:
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, env=environment(**more), timeout=GUARD_SECONDS)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("spelling", ["--recognize-instructions", "--recognise-instructions"])
def test_both_spellings_are_options_and_one_is_shown(tmp_path: Path, spelling: str) -> None:
    with served(tmp_path / "log", "--dtype", "float32", spelling) as server:
        text = Task.RETRIEVAL_QUERY.instruction + "Who found radium?"
        bodies = ({"inputs": text}, {"inputs": "Who found radium?", "task": "retrieval.query"})
        recognized, named = (httpx.post(f"{server.url}/embed", json=body, timeout=GUARD_SECONDS).json() for body in bodies)
        assert recognized == named
    shown = subprocess.run([*SERVE, "--help"], capture_output=True, text=True, env=environment(COLUMNS="200"), check=True).stdout
    assert "--recognize-instructions" in shown
    assert "recognise" not in shown


def test_a_port_in_use_is_known_before_the_model_is_loaded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [*COMMAND[:-1], port, "--model", "no-such-model"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=GUARD_SECONDS)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port} (Address already in use): choose another --port" in done.stderr
