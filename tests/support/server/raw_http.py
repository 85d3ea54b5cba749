"""Requests written to a socket by hand, for clients that misbehave."""

import socket
from urllib.parse import urlsplit

from support.server.waiting import GUARD_SECONDS


def send_raw(url: str, header: str, *parts: bytes) -> socket.socket:
    """A connection on which the head of POST /v1/embeddings with one more header, and parts of its body, were sent."""
    address = urlsplit(url)
    assert address.hostname is not None
    assert address.port is not None
    connection = socket.create_connection((address.hostname, address.port), timeout=GUARD_SECONDS)
    head = f"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{header}\r\n\r\n"
    connection.sendall(head.encode())
    for part in parts:
        connection.sendall(part)
    return connection


def read_response(connection: socket.socket) -> str:
    """The response, as far as it comes at once; the connection is closed."""
    with connection:
        return connection.recv(65536).decode()
