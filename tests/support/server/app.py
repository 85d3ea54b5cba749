"""Our own HTTP server on loopback for tests: real uvicorn in a thread, stopped when a with-block is left."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from support.server.waiting import GUARD_SECONDS, wait_until
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
    wait_until(lambda: server.started or not thread.is_alive())
    assert thread.is_alive(), "the server did not start"
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(GUARD_SECONDS)
        assert not thread.is_alive(), "the server did not stop"
