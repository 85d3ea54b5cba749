"""A Hugging Face hub on loopback with one model folder in it: the calls snapshot_download makes, and ways to fail."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from support import loopback
from support.loopback import LoopbackServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODEL = "someone/tiny"


class Handler(BaseHTTPRequestHandler):
    """Serves `server.folder` as MODEL; `server.failure`: None, "gated", "down", "refuse" (the files), "break" (mid-download)."""

    protocol_version = "HTTP/1.1"
    server: "HubServer"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.seen.append((self.command, self.path, dict(self.headers.items())))
        path = self.path.partition("?")[0]
        if self.server.failure == "refuse" and "/resolve/" in path and self.command == "GET":
            return self.answer(403, b"not today")
        if self.server.failure == "down":
            return self.answer(503, b"down for maintenance")
        if self.server.failure == "gated":
            return self.answer(403, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
        if not re.match(rf"/(api/models/)?{MODEL}(/|$)", path):
            return self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        if match := re.fullmatch(rf"/api/models/{MODEL}(/revision/(.+))?", path):
            if match[2] not in (None, "main", COMMIT):
                return self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            return self.answer(200, json.dumps({"id": MODEL, "sha": COMMIT, "siblings": []}).encode())
        if path.startswith(f"/api/models/{MODEL}/tree/"):
            return self.answer(200, json.dumps(self.tree()).encode())
        return self.file(self.server.folder / path.removeprefix(f"/{MODEL}/resolve/{COMMIT}/"))

    def tree(self) -> list[dict[str, object]]:
        files = sorted(path for path in self.server.folder.rglob("*") if path.is_file())
        return [
            {
                "type": "file",
                "path": path.relative_to(self.server.folder).as_posix(),
                "size": path.stat().st_size,
                "oid": hashlib.sha1(path.read_bytes()).hexdigest(),
            }
            for path in files
        ]

    def file(self, path: Path) -> None:
        content = path.read_bytes()
        headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if self.server.failure == "break" and path.name == "model.safetensors" and self.command == "GET":
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.connection.close()
            self.close_connection = True
            return None
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", "")):
            start = int(match[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return self.answer(206, content[start:], headers)
        return self.answer(200, content, headers)

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


class HubServer(LoopbackServer):
    """The server's state: what it serves, how it fails, what it was asked."""

    folder: Path
    failure: str | None = None
    seen: list[tuple[str, str, dict[str, str]]]


@contextmanager
def serving(folder: Path) -> Iterator[HubServer]:
    """A hub with `folder` as someone/tiny, on a free port."""
    server = HubServer(("127.0.0.1", 0), Handler)
    server.folder, server.seen = folder, []
    with loopback.serving(server):
        yield server
