"""Our own HTTP server on loopback for tests: real uvicorn in a thread, stopped when a with-block is left."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from taskvec import Encoder
from taskvec_integrations.server import ServerSettings, create_app


@contextmanager
def serving(encoder: Encoder | str, **settings: Any) -> Iterator[str]:
    """The address of a server of `encoder` with these settings, while the block lasts."""
    config = uvicorn.Config(
        create_app(encoder, ServerSettings(**settings)), port=0, log_config=None, access_log=False, timeout_graceful_shutdown=5
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(15)
        assert not thread.is_alive(), "the server did not stop"
