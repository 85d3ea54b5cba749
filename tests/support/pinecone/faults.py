"""What is to go wrong with requests to an emulated Pinecone, and the sockets of its connections."""

import socket
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal


@dataclass
class Fault:
    """What goes wrong with which requests.

    Args:
        kind: A status, a reset connection, or a response that takes `seconds`.
        operation: The operation of the requests; "" is any.
        every: It strikes the k-th, 2k-th ... of them.
        times: How often at most.
        landed: The request has taken effect, and only its response is lost.
        headers: Of the response.
        seconds: How long the response takes.
    """

    kind: int | Literal["reset", "slow"]
    operation: str = ""
    every: int = 1
    times: float = float("inf")
    landed: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    seen: int = 0

    def strikes(self, operation: str) -> bool:
        """Whether it is this request's turn."""
        if self.operation not in ("", operation):
            return False
        self.seen += 1
        struck = self.seen % self.every == 0 and self.times > 0
        self.times -= struck
        return struck


def reset(connection: socket.socket) -> None:
    """End a connection as a crashed server does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def forward(connection: socket.socket, port: int) -> None:
    """Carry what comes over a connection to another port, and what comes back, until one of them ends."""
    with socket.create_connection(("127.0.0.1", port)) as other:
        back = threading.Thread(target=_carry, args=(other, connection), daemon=True)
        back.start()
        _carry(connection, other)
        back.join()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
