"""needledb on loopback: a server of Pinecone's API that nobody here wrote."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvicorn
from needledb.server.app import create_app  # type: ignore[import-untyped]


@contextmanager
def needledb(folder: Path) -> Iterator[str]:
    """Its URL while the block lasts."""
    app = create_app(folder, api_keys=[], allow_no_auth=True)
    server = uvicorn.Server(uvicorn.Config(app, port=0, ws="none", log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def create_index(url: str, name: str, dimension: int, metric: str) -> str:
    """Make an index; the host that the SDK reaches it by."""
    httpx.post(f"{url}/indexes", json={"name": name, "dimension": dimension, "metric": metric}).raise_for_status()
    return f"{url}/indexes/{name}"
