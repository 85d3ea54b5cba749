"""Joining a Ray cluster while one command runs, and the errors where that is not possible. Knows addresses, no work."""

import logging
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import ray

ADDRESS = re.compile(r"([\w.-]+|\[[0-9a-fA-F:]+\]):(\d{1,5})")
CONNECT_TIMEOUT_SECONDS = 15.0
"""How long the head of a cluster has to answer; starting Python takes two of these seconds. `ray.init` would try for minutes."""


@contextmanager
def join_cluster(address: str) -> Iterator[None]:
    """Be part of a cluster while the block runs.

    Args:
        address: "local" (a new cluster of this machine), "auto" (the one that this machine is in), or HOST:PORT of a head.

    Raises:
        ValueError: The address is none of these.
        ConnectionError: No cluster answers.
    """
    if address != "local":
        check_address(address)
    ray.init(address=address, logging_level=logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # has a level of its own, and a line for each step
    try:
        yield
    finally:
        ray.shutdown()


def check_address(address: str) -> None:
    """Ask the head of a cluster whether it is healthy; raises what `join_cluster` raises."""
    match = ADDRESS.fullmatch(address)
    if address != "auto" and not match:
        client = address.startswith("ray://")  # Ray Data works only in part over the client's protocol
        advice = "run the command on a machine of the cluster, with auto" if client else "use local, auto or HOST:PORT"
        raise ValueError(f"{address!r} is not an address that can be joined: {advice}")
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        if match:  # a refused connection is known at once
            socket.create_connection((match[1].strip("[]"), int(match[2])), CONNECT_TIMEOUT_SECONDS).close()
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=CONNECT_TIMEOUT_SECONDS)
    except (OSError, OverflowError) as error:
        reason = str(error)
    except subprocess.TimeoutExpired:
        reason = f"no answer in {CONNECT_TIMEOUT_SECONDS:g} s"
    except subprocess.CalledProcessError as error:
        reason = " ".join((error.stderr or error.stdout).strip().split("\n")[-1].split()) or "it is not healthy"
    else:
        return
    raise ConnectionError(f"no Ray cluster answers at {address!r} ({reason}): start one with `ray start --head`, or use local")
