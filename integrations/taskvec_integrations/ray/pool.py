"""How many actors, and with what: what the caller asks for, held against what the cluster has. Knows Ray's resources only."""

from dataclasses import dataclass
from typing import Any

import ray

Concurrency = int | tuple[int, int] | None
"""A number of actors, or the least and the most of a cluster that grows."""


@dataclass(frozen=True)
class Pool:
    """`least` to `most` actors of so many CPUs and GPUs each; threads: for torch, on a CPU."""

    least: int
    most: int
    num_cpus: float
    num_gpus: float
    threads: int


def plan_pool(concurrency: Concurrency, num_cpus: float | None, num_gpus: float | None) -> Pool:
    """What was asked for, with the cluster's own numbers for what was not.

    One actor for each GPU, or where there is none for each machine; ValueError where so many do not fit, because Ray would
    wait for ever.
    """
    least, most = _check(concurrency)
    for name, value in (("num_cpus", num_cpus), ("num_gpus", num_gpus)):
        if value is not None and not value >= 0:
            raise ValueError(f"{name} is {value!r}: use 0 or more, or None")
    has: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    cpus, gpus = has.get("CPU", 0.0), has.get("GPU", 0.0)
    if num_gpus is None:
        num_gpus = 1.0 if gpus else 0.0
    nodes = [node["Resources"] for node in _nodes() if node["Alive"] and node["Resources"].get("CPU")]
    if most is None:
        most = max(1, int(gpus // num_gpus) if num_gpus else len(nodes))
    least = most if least is None else least
    share = cpus / least
    largest = max((float(node["CPU"]) for node in nodes), default=share)
    threads = max(1, int(num_cpus if num_cpus is not None else min(share, largest)))
    if num_cpus is None:
        num_cpus = 1.0 if num_gpus else _less_one(cpus, least)
        while num_cpus > 1 and _places(nodes, num_cpus) < least:  # an actor is on one machine, however many there are
            num_cpus -= 1
    for kind, each, all_of_them, spare in (("GPU", num_gpus, gpus, 0), ("CPU", num_cpus, cpus, 1)):
        if least * each > all_of_them - spare:
            reading = " and one to read the data" if spare else ""
            raise ValueError(
                f"{least} actors of {each:g} {kind}{reading} are more than the {all_of_them:g} that the cluster has: use fewer, "
                f"num_{kind.lower()}s below {max(all_of_them - spare, 1) / least:g}, or concurrency=(1, {most}) where it grows"
            )
    if num_cpus and _places(nodes, num_cpus) < least:
        sizes = ", ".join(f"{node['CPU']:g}" for node in nodes)
        raise ValueError(
            f"{least} actors of {num_cpus:g} CPUs find no place on machines of {sizes}: use a smaller num_cpus, or fewer actors"
        )
    return Pool(least, most, num_cpus, num_gpus, threads)


def _places(nodes: list[dict[str, Any]], each: float) -> int:
    """Actors of so many CPUs that the machines hold."""
    return sum(int(node["CPU"] / each) for node in nodes)


def _nodes() -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return nodes


def _less_one(cpus: float, actors: int) -> float:
    """What each may reserve so that Ray has one CPU left to read with, as it insists on."""
    share = max(cpus - 1, 0.0) / actors
    return float(int(share)) if share >= 1 else share


def _check(concurrency: Concurrency) -> tuple[int | None, int | None]:
    given = concurrency if isinstance(concurrency, tuple) else (concurrency, concurrency)
    whole = all(number is None or (isinstance(number, int) and not isinstance(number, bool)) for number in given)
    if len(given) != 2 or not whole:
        raise TypeError(f"concurrency is {concurrency!r}: a number of actors, (least, most) or None was expected")
    least, most = given
    if least is not None and most is not None and not 1 <= least <= most:
        raise ValueError(f"concurrency is {concurrency!r}: at least 1 actor is needed, and the least before the most")
    return least, most
