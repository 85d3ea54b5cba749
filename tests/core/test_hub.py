"""The journey from a hub id to vectors, against a real HTTP server on loopback, in processes of their own; and its failures."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from support.hub.server import COMMIT, MODEL, HubServer, serving
from support.paths import ROOT
from support.reference import assert_close
from taskvec import Encoder
from taskvec.checkpoint import hub

SCRIPT = """
import logging, sys
logging.basicConfig(format="%(levelname)s %(name)s %(message)s")
from taskvec import Encoder
encoder = Encoder.from_pretrained({model!r}, dtype="float32", device="cpu", **{options!r})
print(encoder.fingerprint)
print(*encoder.encode("bread", dimensions=4).tolist())
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def server(native: Path) -> Iterator[HubServer]:
    with serving(native) as server:
        yield server


@pytest.fixture
def run(server: HubServer, tmp_path: Path) -> Iterator[Run]:
    """Load `model` in a fresh process whose hub is the server and whose cache is empty at first."""

    def run(model: str = MODEL, env: dict[str, str] | None = None, **options: object) -> subprocess.CompletedProcess[str]:
        settings = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
        settings |= {"HF_HUB_DISABLE_XET": "1", "PYTHONPATH": "core", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        return subprocess.run(
            [sys.executable, "-c", SCRIPT.format(model=model, options=options)],
            env={**os.environ, **settings, **(env or {})},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
        )

    server.failure = None
    server.seen.clear()
    yield run
    server.failure = None


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1, done.stdout
    return done.stderr.strip().splitlines()[-1]


def test_first_download_then_offline(run: Run, server: HubServer, encoder: Encoder) -> None:
    first = run(token="hf_secret")
    assert first.returncode == 0, first.stderr
    assert "CC BY-NC 4.0" in first.stderr
    assert "hf_secret" not in first.stdout + first.stderr
    assert any(headers.get("authorization") == "Bearer hf_secret" for _, _, headers in server.seen)
    fingerprint, vector = first.stdout.splitlines()
    assert fingerprint == f"{MODEL}@{COMMIT}/mean"
    assert_close(np.array(vector.split(), dtype=np.float32), encoder.encode("bread", dimensions=4))
    offline = run(env={"HF_HUB_OFFLINE": "1"})
    assert offline.stdout == first.stdout, offline.stderr
    assert "CC BY-NC" not in offline.stderr
    server.failure = "down"
    assert run(local_files_only=True).stdout == first.stdout


def test_an_interrupted_download_can_be_repeated(run: Run, server: HubServer) -> None:
    server.failure = "break"
    message = last_line(run())
    assert message.startswith("ConnectionError: the download of someone/tiny was interrupted")
    assert "run it again" in message
    server.failure = None
    assert run().returncode == 0


def test_a_partial_cache_is_not_mistaken_for_the_model(run: Run, server: HubServer) -> None:
    server.failure = "break"
    run()
    message = last_line(run(env={"HF_HUB_OFFLINE": "1"}))
    assert message.startswith("ConnectionError: someone/tiny is not (completely) in the local cache")


def test_half_a_model_from_another_library(run: Run, server: HubServer, tmp_path: Path) -> None:
    """transformers caches the base alone: without its adapters that is no model to answer with."""
    assert run().returncode == 0
    for folder in (tmp_path / "hf" / "hub").glob("models--*"):
        shutil.rmtree(folder / "trees", ignore_errors=True)
        for path in folder.glob("snapshots/*/*/adapter_config.json"):
            shutil.rmtree(path.parent)
    message = last_line(run(env={"HF_HUB_OFFLINE": "1"}))
    assert message.startswith("taskvec.errors.CheckpointError: the cached copy of someone/tiny")
    assert "no task adapters" in message


FAILURES = [
    ("gated", MODEL, {}, "PermissionError: someone/tiny is gated: accept its terms on https://huggingface.co/someone/tiny"),
    ("refuse", MODEL, {}, "ConnectionError: the hub answered with an error for someone/tiny ("),
    ("down", MODEL, {}, "ConnectionError: someone/tiny is not (completely) in the local cache and the hub cannot be reached"),
    (None, "someone/tyni", {}, "FileNotFoundError: the hub has no model someone/tyni, or it is private"),
    (None, MODEL, {"revision": "v9"}, "FileNotFoundError: someone/tiny has no revision 'v9'"),
    (None, MODEL, {"local_files_only": True}, "ConnectionError: someone/tiny is not (completely) in the local cache"),
    (None, "two words", {}, "ValueError: 'two words' is neither a folder nor a hub id"),
    (None, "./nowhere", {}, "FileNotFoundError: there is no model folder ./nowhere"),
    (None, "/no/such/folder", {}, "FileNotFoundError: there is no model folder /no/such/folder"),
]


@pytest.mark.parametrize(("failure", "model", "options", "message"), FAILURES)
def test_failures_are_one_sentence_with_the_remedy(
    run: Run, server: HubServer, failure: str | None, model: str, options: dict[str, object], message: str
) -> None:
    server.failure = failure
    assert last_line(run(model, **options)).startswith(message)


def test_offline_without_a_cache(run: Run) -> None:
    assert "HF_HUB_OFFLINE unset" in last_line(run(env={"HF_HUB_OFFLINE": "1"}))


def test_no_server_at_all(run: Run) -> None:
    message = last_line(run(env={"HF_ENDPOINT": "http://127.0.0.1:9"}))
    assert message.startswith("ConnectionError: someone/tiny is not (completely) in the local cache")


def test_no_space_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(hub, "snapshot_download", full)
    with pytest.raises(OSError, match=r"no space left to download someone/tiny .*cache_dir=") as caught:
        Encoder.from_pretrained(MODEL)
    assert caught.value.errno == errno.ENOSPC


def test_a_folder_needs_no_hub_and_its_fingerprint_follows_its_content(
    tmp_path: Path, native: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from taskvec.checkpoint.fingerprint import folder_digest

    def unreachable(*args: object, **kwargs: object) -> str:
        raise AssertionError("a local folder asked the hub")

    monkeypatch.setattr(hub, "snapshot_download", unreachable)
    folder, cache = shutil.copytree(native, tmp_path / "model"), tmp_path / "cache" / "fingerprints.json"
    assert Encoder.from_pretrained(folder, dtype="float32").fingerprint.startswith("sha256:")
    first = folder_digest(folder, cache)
    assert folder_digest(shutil.copytree(native, tmp_path / "other name"), cache) == first
    monkeypatch.setattr("hashlib.file_digest", unreachable)
    assert folder_digest(folder, cache) == first  # from the cache
    monkeypatch.undo()
    (folder / "my_results.json").write_text("{}")
    (folder / "checkpoint-1").mkdir()
    (folder / "checkpoint-1" / "model.safetensors").write_text("")
    assert folder_digest(folder, cache) == first  # only what the loader reads counts
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 1e-6}))
    assert folder_digest(folder, cache) != first
    cache.write_text("damaged")
    assert folder_digest(native, cache) == first
    assert folder_digest(native, Path("/proc/no/such/cache.json")) == first  # a cache that cannot be written is no error
