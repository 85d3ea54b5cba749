"""Joining a Ray cluster for the time of one command, and what is said where that cannot be. Knows addresses, no work."""

import logging
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import ray

ADDRESS = re.compile(r"(?P<host>[\w.-]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")
REACHED = 5.0
"""Seconds in which the head of a cluster takes a connection; Ray would try for more than a minute."""

START = "start one with `ray start --head`, or use local"


@contextmanager
def joined(address: str) -> Iterator[None]:
    """Be part of the cluster at `address`: local (a new one, of this machine), auto (the one it is in), or HOST:PORT of a head.

    ValueError for what is no address, ConnectionError where no cluster answers.
    """
    _check(address)
    try:
        ray.init(address=address, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise ConnectionError(f"no Ray cluster found at {address!r} ({error}); {START}") from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it has one of its own, with a line for each step
    try:
        yield
    finally:
        ray.shutdown()


def _check(address: str) -> None:
    if address in ("local", "auto"):
        return
    found = ADDRESS.fullmatch(address)
    if not found:
        client = address.startswith("ray://")  # by which Ray Data works in part only
        advice = "run the command on a machine of the cluster, with auto" if client else "use local, auto or HOST:PORT"
        raise ValueError(f"{address!r} is no address of a cluster here: {advice}")
    try:
        socket.create_connection((found["host"].strip("[]"), int(found["port"])), REACHED).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(f"no Ray cluster answers at {address!r} ({error}); {START}") from None
