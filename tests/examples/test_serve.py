"""The files of examples/serve: its commands run, systemd accepts its unit, its container's environment starts a server."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from support.paths import ROOT
from support.server.app import serving
from support.server.process import SERVE, served
from taskvec import Encoder

FOLDER = ROOT / "examples" / "serve"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"```bash\n(.*?)```", README, re.S)
URL = "http://127.0.0.1:8080"
KEY = "a-key-of-the-tests"


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
@pytest.mark.parametrize("number", range(len(COMMANDS)))
def test_commands_are_answered(mini: Encoder, tmp_path: Path, number: int) -> None:
    (tmp_path / "keys").write_text(KEY)
    with serving(mini, recognize_instructions=True) as url:
        script = COMMANDS[number].replace(URL, url).replace("curl -sS", "curl -sS --fail-with-body")
        assert script != COMMANDS[number]
        done = subprocess.run(["bash", "-euc", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    answers = json.loads(f"[{done.stdout.replace('}{', '},{')}]")
    assert answers
    if "late_chunking" in script:
        assert [len(row["embedding"]) for row in answers[-1]["data"]] == [256, 256]


def test_every_recipe_has_its_command() -> None:
    assert len(COMMANDS) == 6
    assert {*re.findall(re.escape(URL) + r"(/[\w/]+)", "".join(COMMANDS))} >= {
        "/embed",
        "/invocations",
        "/ping",
        "/score",
        "/v1/embeddings",
        "/v1/models",
    }


def stage(name: str) -> str:
    """A stage of the Dockerfile."""
    return re.split(rf"^FROM \S+ AS {name}$", (FOLDER / "Dockerfile").read_text(), flags=re.M)[1].partition("\nFROM")[0]


def test_the_environment_of_the_container_serves(tmp_path: Path) -> None:
    image = dict(re.findall(r"(\w+)=(\S+)", stage("base").partition("ENV ")[2].partition("\n")[0]))
    assert image["TASKVEC_PORT"] == "8080"  # where SageMaker sends its requests
    container = {**image, "TASKVEC_PORT": "0", "TASKVEC_MODEL": "mini", "TASKVEC_DTYPE": "float32", "TASKVEC_INSECURE": "true"}
    with served(tmp_path / "log", command=SERVE, **container) as server:
        assert "0.0.0.0" in server.url
        url = server.url.replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(f"{url}/ping").status_code == 200
        assert httpx.post(f"{url}/invocations", json={"data": ["a"], "parameters": {"dimensions": 8}}).status_code == 200


def test_both_images_start_alike_and_hold_what_is_copied() -> None:
    ends = [stage(target).partition("USER taskvec")[2].split() for target in ("cpu", "cuda")]
    assert ends[0][: len(ends[1])] == ends[1][: len(ends[0])]
    assert 'ENTRYPOINT ["taskvec"]' in " ".join(ends[0])
    copied = re.findall(r"^COPY (.*) \S+$", stage("wheel"), flags=re.M)
    assert all((ROOT / name).exists() for line in copied for name in line.split())


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = (FOLDER / "taskvec.service").read_text()
    assert "/opt/taskvec/bin/taskvec serve" in unit
    (tmp_path / "taskvec.service").write_text(unit.replace("/opt/taskvec/bin/taskvec", "/bin/true"))
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "taskvec.service")]
    done = subprocess.run(command, env={**os.environ, "LC_ALL": "C"}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
