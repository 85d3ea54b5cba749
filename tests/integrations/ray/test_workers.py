"""Which device and how many threads the encoder of an actor gets; there is no GPU here, so a fake answers for Ray."""

import types
from typing import Any

import pytest
import torch

from taskvec_integrations.ray import workers


class FakeRay:
    """What an actor would ask Ray."""

    WORKER_MODE = 1

    def __init__(self, mode: int, gpus: list[int], cpus: float) -> None:
        self.mode, self.gpus, self.cpus = mode, gpus, cpus

    def is_initialized(self) -> bool:
        return True

    def get_gpu_ids(self) -> list[int]:
        return self.gpus

    def get_runtime_context(self) -> Any:
        resources = {"CPU": self.cpus} if self.cpus else {}
        return types.SimpleNamespace(worker=types.SimpleNamespace(mode=self.mode), get_assigned_resources=lambda: resources)


@pytest.mark.parametrize(
    ("fake_ray", "given", "threads", "device", "set_to"),
    [
        (FakeRay(1, [], 4.0), {}, None, "cpu", 4),  # the machine's GPUs are others'
        (FakeRay(1, [], 0.5), {}, None, "cpu", 1),
        (FakeRay(1, [], 0), {}, None, "cpu", 1),
        (FakeRay(1, [], 0.5), {}, 2, "cpu", 2),
        (FakeRay(1, [3], 1.0), {}, None, None, 1),  # the only one that torch sees, if it sees one
        (FakeRay(1, [3], 1.0), {"device": "cpu"}, None, "cpu", 1),
        (FakeRay(0, [], 4.0), {}, 7, None, None),  # the driver is the user's
    ],
)
def test_an_actor_uses_what_ray_gave_it(
    monkeypatch: pytest.MonkeyPatch,
    fake_ray: FakeRay,
    given: dict[str, Any],
    threads: int | None,
    device: Any,
    set_to: int | None,
) -> None:
    loaded: list[Any] = []
    asked: list[int] = []
    monkeypatch.setattr(workers, "ray", fake_ray)
    monkeypatch.setattr(workers, "shared_encoder", lambda model, **arguments: loaded.append((model, arguments.get("device"))))
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    workers.load_encoder("mini", given, threads)
    assert loaded == [("mini", device)]
    assert asked == ([] if set_to is None else [set_to])
