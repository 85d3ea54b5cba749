"""Shared fixtures: small random checkpoints in both layouts and encoders of them, made once per session."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
if "PYTEST_XDIST_WORKER" in os.environ:  # processes that share the cores would wait for each other's threads
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.checkpoints import Shape, Weights, random_weights, write_native, write_original
from support.milvus import server as milvus_server
from taskvec import Encoder

# A context short enough that documents need windows.
SHORT = Shape(width=32, layers=1, heads=2, inner=64, positions=66)

LoadEncoder = Callable[..., Encoder]

pytest_plugins = ["support.parallel", "support.skips"]


@pytest.fixture(scope="session")
def weights() -> Weights:
    return random_weights()


@pytest.fixture(scope="session")
def native(tmp_path_factory: pytest.TempPathFactory, weights: Weights) -> Path:
    return write_native(tmp_path_factory.mktemp("native") / "model", weights)


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory, weights: Weights) -> Path:
    return write_original(tmp_path_factory.mktemp("original") / "model", weights)


@pytest.fixture(scope="session")
def short_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_native(tmp_path_factory.mktemp("short") / "model", random_weights(SHORT, seed=3))


@pytest.fixture(scope="session")
def encoder(native: Path) -> Iterator[Encoder]:
    """Width 64, 2 layers, 8192 tokens, float32 on the CPU."""
    with Encoder.from_pretrained(native, dtype="float32", device="cpu") as encoder:
        yield encoder


@pytest.fixture(scope="session")
def short(short_folder: Path) -> Iterator[Encoder]:
    """Width 32, 1 layer, a context of 64 tokens, float32 on the CPU."""
    with Encoder.from_pretrained(short_folder, dtype="float32", device="cpu") as encoder:
        yield encoder


@pytest.fixture(scope="session")
def mini() -> Iterator[Encoder]:
    """The bundled model in float32 on the CPU."""
    with Encoder.from_pretrained("mini", dtype="float32", device="cpu") as encoder:
        yield encoder


@pytest.fixture(scope="session")
def server_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a real Milvus 2.3.5 listens, started for the session."""
    if reason := milvus_server.unusable():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("milvus")
    with milvus_server.running(folder) as uri:
        yield uri
    shutil.rmtree(folder)  # half a gigabyte
