"""Joining a Ray cluster for the time of one command, and what is said where that cannot be. Knows addresses, no work."""

import logging
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import ray

ADDRESS = re.compile(r"([\w.-]+|\[[0-9a-fA-F:]+\]):(\d{1,5})")
PATIENCE = 15.0
"""Seconds that the head of a cluster has to answer, of which starting Python takes two; `ray.init` would try for minutes."""


@contextmanager
def joined(address: str) -> Iterator[None]:
    """Be part of the cluster at `address`: local (a new one, of this machine), auto (the one it is in), or HOST:PORT of a head.

    ValueError for what is no address, ConnectionError where no cluster answers.
    """
    if address != "local":
        _check(address)
    ray.init(address=address, logging_level=logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it has one of its own, with a line for each step
    try:
        yield
    finally:
        ray.shutdown()


def _check(address: str) -> None:
    found = ADDRESS.fullmatch(address)
    if address != "auto" and not found:
        client = address.startswith("ray://")  # by which Ray Data works in part only
        advice = "run the command on a machine of the cluster, with auto" if client else "use local, auto or HOST:PORT"
        raise ValueError(f"{address!r} is no address of a cluster here: {advice}")
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        if found:  # what refuses to be connected to does so at once
            socket.create_connection((found[1].strip("[]"), int(found[2])), PATIENCE).close()
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, OverflowError) as error:
        said = str(error)
    except subprocess.TimeoutExpired:
        said = f"none in {PATIENCE:g} s"
    except subprocess.CalledProcessError as error:
        said = " ".join((error.stderr or error.stdout).strip().split("\n")[-1].split()) or "it is not healthy"
    else:
        return
    raise ConnectionError(f"no Ray cluster answers at {address!r} ({said}): start one with `ray start --head`, or use local")
