"""How many actors a cluster gets."""

from typing import Any

import pytest
import ray

from taskvec_integrations.ray.pool import ActorPool, size_pool


def cluster(monkeypatch: pytest.MonkeyPatch, machines: int, cpus: float, gpus: float = 0) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": cpus} | ({"GPU": gpus} if gpus else {}))
    nodes = [{"Alive": True, "Resources": {"CPU": cpus / machines}}] * machines + [{"Alive": False, "Resources": {}}]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)


@pytest.mark.parametrize(
    ("has", "asked", "expected"),
    [
        ((1, 2), (None, None, None), ActorPool(1, 1, 1, 0, 2)),
        ((1, 1), (None, None, None), ActorPool(1, 1, 0, 0, 1)),
        ((2, 32), (None, None, None), ActorPool(2, 2, 15, 0, 16)),
        ((1, 2), (2, None, None), ActorPool(2, 2, 0.5, 0, 1)),
        ((1, 8), (3, 2, None), ActorPool(3, 3, 2, 0, 2)),
        ((4, 64, 8), (None, None, None), ActorPool(8, 8, 1, 1, 8)),
        ((4, 64, 8), (None, None, 0.5), ActorPool(16, 16, 1, 0.5, 4)),
        ((4, 64, 8), ((2, 99), None, None), ActorPool(2, 99, 1, 1, 16)),
        ((4, 64, 8), (2, 4, 0), ActorPool(2, 2, 4, 0, 4)),
    ],
)
def test_what_was_not_asked_for_follows_the_cluster(
    monkeypatch: pytest.MonkeyPatch, has: tuple[Any, ...], asked: tuple[Any, Any, Any], expected: ActorPool
) -> None:
    cluster(monkeypatch, *has)
    assert size_pool(*asked) == expected


@pytest.mark.parametrize(
    ("sizes", "asked", "expected"),
    [
        ((2, 2), (1, None, None), ActorPool(1, 1, 2, 0, 2)),
        ((2, 2), ((1, 4), None, None), ActorPool(1, 4, 2, 0, 2)),
        ((16, 4), (None, None, None), ActorPool(2, 2, 8, 0, 10)),
        ((16, 4), ((None, 5), None, None), ActorPool(5, 5, 3, 0, 4)),
    ],
)
def test_an_actor_is_on_one_machine(
    monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, ...], asked: tuple[Any, Any, Any], expected: ActorPool
) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": float(sum(sizes))})
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": float(size)}} for size in sizes])
    assert size_pool(*asked) == expected


def test_an_actor_that_fits_no_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster(monkeypatch, 2, 32)
    with pytest.raises(ValueError, match="1 actors of 17 CPUs do not fit on machines of 16, 16: use a smaller num_cpus"):
        size_pool(1, 17, None)


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ((2, 1, None), ValueError, "2 actors of 1 CPU and one to read the data are more than the 2 that the cluster has"),
        ((2, None, 1), ValueError, "2 actors of 1 GPU are more than the 0"),
        ((0, None, None), ValueError, "concurrency is 0: at least 1"),
        (((3, 2), None, None), ValueError, "the least before the most"),
        (("2", None, None), TypeError, "concurrency is '2'"),
        (((1, 2, 3), None, None), TypeError, "a number of actors"),
        ((1, -1, None), ValueError, "num_cpus is -1"),
    ],
)
def test_what_would_wait_for_ever_is_refused(
    monkeypatch: pytest.MonkeyPatch, asked: tuple[Any, Any, Any], error: type[Exception], message: str
) -> None:
    cluster(monkeypatch, 1, 2)
    with pytest.raises(error, match=message):
        size_pool(*asked)
