"""How many actors, and with what: what the caller asks for, and what the cluster has. Knows Ray's resources only."""

from dataclasses import dataclass
from typing import Any

import ray

Concurrency = int | tuple[int, int] | None
"""A number of actors, or the smallest and the largest number on a cluster that grows."""


@dataclass(frozen=True)
class ActorPool:
    """A number of equal actors.

    Attributes:
        min_size: The smallest number of actors.
        max_size: The largest number of actors.
        num_cpus: CPUs that Ray reserves for each.
        num_gpus: GPUs that Ray reserves for each.
        threads: Threads of torch in each, on a CPU.
    """

    min_size: int
    max_size: int
    num_cpus: float
    num_gpus: float
    threads: int


def size_pool(concurrency: Concurrency, num_cpus: float | None, num_gpus: float | None) -> ActorPool:
    """Fill in what was not asked for with the cluster's own numbers, by default an actor for each GPU, else for each machine.

    Args:
        concurrency: How many actors; None follows the cluster.
        num_cpus: CPUs of each; None shares them out.
        num_gpus: GPUs of each; None is one where there are any.

    Raises:
        TypeError: A value is of another type.
        ValueError: So many actors do not fit; Ray would wait for ever.
    """
    min_size, max_size = _check_concurrency(concurrency)
    for name, value in (("num_cpus", num_cpus), ("num_gpus", num_gpus)):
        if value is not None and not value >= 0:
            raise ValueError(f"{name} is {value!r}: use 0 or more, or None")
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
    if num_gpus is None:
        num_gpus = 1.0 if gpus else 0.0
    machines = _cpus_of_machines()
    if max_size is None:
        max_size = max(1, int(gpus // num_gpus) if num_gpus else len(machines))
    min_size = max_size if min_size is None else min_size
    share = cpus / min_size
    threads = max(1, int(num_cpus if num_cpus is not None else min(share, max(machines, default=share))))
    if num_cpus is None:
        num_cpus = 1.0 if num_gpus else _share_without_one(cpus, min_size)
        while num_cpus > 1 and _count_places(machines, num_cpus) < min_size:  # an actor is on one machine
            num_cpus -= 1
    pool = ActorPool(min_size, max_size, num_cpus, num_gpus, threads)
    _check_resources(pool, cpus, gpus)
    _check_places(pool, machines)
    return pool


def _check_resources(pool: ActorPool, cpus: float, gpus: float) -> None:
    for kind, each, available, reserve in (("GPU", pool.num_gpus, gpus, 0), ("CPU", pool.num_cpus, cpus, 1)):
        if pool.min_size * each > available - reserve:
            reader = " and one to read the data" if reserve else ""
            raise ValueError(
                f"{pool.min_size} actors of {each:g} {kind}{reader} are more than the {available:g} that the cluster has: use "
                f"fewer, num_{kind.lower()}s below {max(available - reserve, 1) / pool.min_size:g}, or "
                f"concurrency=(1, {pool.max_size}) where it grows"
            )


def _check_places(pool: ActorPool, machines: list[float]) -> None:
    if pool.num_cpus and _count_places(machines, pool.num_cpus) < pool.min_size:
        sizes = ", ".join(f"{size:g}" for size in machines)
        raise ValueError(
            f"{pool.min_size} actors of {pool.num_cpus:g} CPUs do not fit on machines of {sizes}: use a smaller num_cpus, or "
            "fewer actors"
        )


def _count_places(machines: list[float], num_cpus: float) -> int:
    """How many actors of so many CPUs fit on the machines."""
    return sum(int(size / num_cpus) for size in machines)


def _cpus_of_machines() -> list[float]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [float(node["Resources"]["CPU"]) for node in nodes if node["Alive"] and node["Resources"].get("CPU")]


def _share_without_one(cpus: float, actors: int) -> float:
    """What each actor may reserve so that Ray has one CPU left to read with, which it insists on."""
    share = max(cpus - 1, 0.0) / actors
    return float(int(share)) if share >= 1 else share


def _check_concurrency(concurrency: Concurrency) -> tuple[int | None, int | None]:
    sizes = concurrency if isinstance(concurrency, tuple) else (concurrency, concurrency)
    whole = all(number is None or (isinstance(number, int) and not isinstance(number, bool)) for number in sizes)
    if len(sizes) != 2 or not whole:
        raise TypeError(f"concurrency is {concurrency!r}: a number of actors, (least, most) or None was expected")
    min_size, max_size = sizes
    if min_size is not None and max_size is not None and not 1 <= min_size <= max_size:
        raise ValueError(f"concurrency is {concurrency!r}: at least 1 actor is needed, and the least before the most")
    return min_size, max_size
