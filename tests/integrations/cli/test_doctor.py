"""`taskvec models` and `taskvec doctor`: what they find, and that they find what is amiss."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support.checkpoints import Shape, random_weights, write_native
from support.command_line import ENVIRONMENT, Taskvec
from taskvec import DEFAULT_MODEL, Encoder, Task
from taskvec.attention import aligned_attention, amx_attention, grouped_attention
from taskvec_integrations.cli import doctor, doctor_machine, models, published_vectors


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "THROUGHPUT_SECONDS", 0.0)


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub; gives the folder of the default model's one snapshot in it, which is not there."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / f"models--{DEFAULT_MODEL.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    return repository / "snapshots" / ("0" * 40)


def test_all_is_well_with_mini(taskvec: Taskvec) -> None:
    done = taskvec("doctor")
    assert (done.code, done.err) == (0, "")
    found = [line.split()[1] for line in done.out.splitlines() if line.split()[0] in ("ok", "note")]
    names = ["versions", "extras", "processor", "device", "dtype", "attention", "layers"]
    assert found == [*names, "model", "vectors", "published", "query", "throughput"]
    assert "Everything works." in done.out
    assert f"torch {torch.__version__}" in " ".join(done.out.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "./nowhere"], "there is no model folder ./nowhere"),
        (["--device", "cuda:7"], "device 'cuda:7' is not available"),
        (["--dtype", "int3"], "dtype 'int3' is not supported"),
    ],
)
def test_what_is_broken_is_said_last_and_exits_1(taskvec: Taskvec, arguments: list[str], said: str) -> None:
    done = taskvec("doctor", *arguments)
    assert done.code == 1
    assert said in " ".join(done.out.split())
    assert done.out.count("broken") == 1
    assert "Everything works" not in done.out


def test_vectors_that_depend_on_their_neighbours_are_broken(mini: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check_vectors(mini).state == "ok"
    encode = Encoder.encode

    def leaking(self: Encoder, texts: Any, **options: Any) -> Any:
        vectors = encode(self, texts, **options)
        return np.roll(vectors, 1, axis=0) if vectors.ndim == 2 else vectors

    monkeypatch.setattr(Encoder, "encode", leaking)
    found = doctor.check_vectors(mini)
    assert (found.state, "together and alone differ" in found.summary, bool(found.advice)) == ("broken", True, True)


class Published:
    """An encoder that gives the published vectors, each of them off by `off`."""

    dimensions, tasks = 1024, tuple(Task)

    def __init__(self, off: float, dtype: torch.dtype = torch.float32, model_id: str = DEFAULT_MODEL) -> None:
        self.off, self.dtype, self.model_id = off, dtype, model_id
        self.asked: list[tuple[Any, ...]] = []

    def encode(self, texts: list[str], *, task: Task, instruction: str) -> Any:
        self.asked.append((tuple(texts), task, instruction))
        return np.pad(np.array(published_vectors.VECTORS[task]) + self.off, ((0, 0), (0, 1019)))


@pytest.mark.parametrize(
    ("encoder", "state"),
    [
        (Published(5e-5), "ok"),
        (Published(2e-4), "broken"),
        (Published(2e-3, torch.bfloat16), "ok"),
        (Published(0.03, torch.int8), "broken"),
        (Published(0.5, model_id="./mine"), "note"),
        (Published(0.0, model_id="./mine"), "ok"),
    ],
)
def test_published_values(encoder: Any, state: str) -> None:
    assert doctor.check_published_vectors(encoder).state == state
    assert encoder.asked == [(published_vectors.TEXTS, task, "") for task in Task]


def test_another_adapter_is_never_within_the_tolerance_of_int8() -> None:
    vectors = np.array([published_vectors.VECTORS[task] for task in Task])
    apart = [np.abs(one - other).max() for n, one in enumerate(vectors) for other in vectors[:n]]
    assert min(apart) > max(published_vectors.TOLERANCES.values())


def test_missing_adapters_are_a_note(native: Path, tmp_path: Path) -> None:
    from taskvec_integrations.lazy_encoder import LazyEncoder

    folder = shutil.copytree(native, tmp_path / "some")
    shutil.rmtree(folder / Task.SEPARATION.adapter)
    found = {one.name: one for one in doctor.check_model(LazyEncoder(folder, {"device": "cpu"}))}
    assert (found["model"].state, "separation" in found["model"].advice) == ("note", True)


def test_a_slow_query_has_advice(mini: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SLOW_QUERY_SECONDS", 0.0)
    assert [(one.name, one.state) for one in doctor.check_speed(mini)] == [("query", "note"), ("throughput", "ok")]


@pytest.mark.parametrize(
    ("amx", "chosen", "state"), [(True, aligned_attention, "note"), (True, amx_attention, "ok"), (False, aligned_attention, "ok")]
)
def test_a_missing_compiler_is_said_where_it_would_help(
    monkeypatch: pytest.MonkeyPatch, amx: bool, chosen: Any, state: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": amx})
    found = doctor_machine.check_attention(chosen, torch.bfloat16)
    assert (found.state, "gcc" in found.advice) == (state, state == "note")
    assert doctor_machine.check_attention(grouped_attention, torch.float32).state == "ok"


@pytest.mark.parametrize(("threads", "state"), [(1, "note"), (2, "ok"), (64, "note")])
def test_threads(monkeypatch: pytest.MonkeyPatch, threads: int, state: str) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1}, raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert doctor_machine.check_processor().state == state


def test_an_idle_card_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda self: True)
    found = doctor_machine.check_device(torch.device("cpu"), None)
    assert (found.state, "CUDA build of torch" in found.advice) == ("note", True)
    assert doctor_machine.check_device(torch.device("cpu"), "cpu").state == "ok"


def test_missing_extras_have_their_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_machine, "_is_installed", lambda module: module not in ("pymilvus", "ray"))
    found = doctor_machine.check_extras()
    assert "qdrant" in found.summary
    assert found.advice.endswith("pip install 'taskvec[milvus,ray]'")


def test_models_and_where_they_are(taskvec: Taskvec, hub_cache: Path) -> None:
    done = taskvec("models")
    assert done.code == 0
    assert [line for line in done.out.splitlines() if line in {card.name for card in models.MODEL_CARDS}] == [
        card.name for card in models.MODEL_CARDS
    ]
    assert (done.out.count("not downloaded (1.1 GB)"), done.out.count("comes with taskvec (48 MB)")) == (2, 1)


def test_a_model_in_the_cache(taskvec: Taskvec, hub_cache: Path) -> None:
    write_native(hub_cache, random_weights(Shape(width=64, layers=1, heads=1, inner=64)))
    assert "in the cache (" in taskvec("models").out
    shutil.rmtree(hub_cache / Task.SEPARATION.adapter)
    assert "in the cache (" in taskvec("models").out
    (hub_cache / "model.safetensors").unlink()
    assert "in the cache, but incomplete" in taskvec("models").out


def test_the_card_of_mini_agrees(mini: Encoder) -> None:
    card = models.MODEL_CARDS[0]
    assert (card.dimensions, card.context) == (mini.dimensions, mini.max_tokens)


@pytest.mark.parametrize(("command", "extra"), [(["ingest", "x", "--to"], "qdrant"), (["search", "x", "--from"], "milvus")])
def test_without_an_extra_the_command_to_install_it_is_said(command: list[str], extra: str) -> None:
    code = "import sys; sys.modules['tenacity'] = None; from taskvec_integrations.cli import main; main()"
    arguments = [*command, f"{extra}://./x.db", "--collection", "c"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"taskvec: tenacity is not installed: pip install 'taskvec[{extra}]'\n")


def test_embed_models_and_doctor_need_no_extra(tmp_path: Path) -> None:
    modules = ("semchunk", "tenacity", "pyarrow", "qdrant_client", "pymilvus", "pinecone", "ray")
    code = f"import sys; sys.modules.update(dict.fromkeys({modules})); from taskvec_integrations.cli import main; main()"
    for arguments in (["embed", "x", "--model", "mini", "--output", "x.npy"], ["models"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], env=ENVIRONMENT, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "x.npy").exists()
