"""A real Milvus 2.3.5 for the tests, reachable through one loopback port and nothing else.

The server listens on all interfaces for nine ports whatever its configuration. It therefore lives in a network namespace of its
own, which has only a loopback. The port that the tests use is opened before that namespace is entered and passed in: this file,
run as a program, carries what arrives there to the server. It ends when its standard input ends, and the server with it, however
the tests ended.
"""

import fcntl
import importlib.util
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_TIMEOUT_SECONDS = 300
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1


def unusable() -> str | None:
    """Why the server cannot run here, or None; root and users who may make user namespaces can."""
    if importlib.util.find_spec("milvus") is None:
        return "the package milvus (2.3.5, Linux on x86-64) is not installed"
    if shutil.which("unshare") is None:
        return "there is no unshare program (util-linux), and outside a network namespace Milvus listens on all interfaces"
    done = subprocess.run([*_namespace(), "true"], capture_output=True, text=True, check=False)
    return f"no network namespace can be made here: {done.stderr.strip()}" if done.returncode else None


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """The URI of a server with its data in `folder`, for as long as the block lasts."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        command = [*_namespace(), sys.executable, __file__, str(listener.fileno()), str(folder)]
        process = subprocess.Popen(
            command, pass_fds=[listener.fileno()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        try:
            assert process.stdout.readline() == "ready\n", f"Milvus did not start, see {folder / 'logs'}"
            yield f"http://127.0.0.1:{port}"
        finally:
            process.stdin.close()
            process.wait(timeout=60)


def _namespace() -> list[str]:
    return ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-r", "-n"]


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        name = b"lo".ljust(16, b"\0")
        (flags,) = struct.unpack_from("h", fcntl.ioctl(any_socket, SIOCGIFFLAGS, name + bytes(24)), 16)
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, name + struct.pack("h", flags | IFF_UP) + bytes(22))


def _carry(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:  # either side went away
        for end in (source, target):
            end.close()


def _accept(listener: socket.socket, port: int) -> None:
    while True:
        outside, _ = listener.accept()
        inside = socket.create_connection(("127.0.0.1", port))
        for ends in ((outside, inside), (inside, outside)):
            threading.Thread(target=_carry, args=ends, daemon=True).start()


def _main(descriptor: int, folder: str) -> None:
    _loopback_up()
    server = importlib.import_module("milvus").MilvusServer(wait_for_started=False)
    server.set_base_dir(folder)
    server.start()
    try:
        server.wait_started(START_TIMEOUT_SECONDS * 1000)
        listener = socket.socket(fileno=descriptor)
        threading.Thread(target=_accept, args=(listener, server.listen_port), daemon=True).start()
        print("ready", flush=True)
        sys.stdin.read()
    finally:
        server.server_proc.kill()  # it does not end on SIGTERM
        server.server_proc.wait()


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2])
