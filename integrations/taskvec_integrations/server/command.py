"""What ``taskvec serve`` does: bind first, so that a port in use is known before a model is loaded; load; serve; stop."""

import logging
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn
from pydantic import ValidationError

from taskvec import Encoder
from taskvec.integration import choose_device
from taskvec_integrations.server.app import create_app
from taskvec_integrations.server.logs import set_up
from taskvec_integrations.server.settings import ServerSettings, check_host

CPU_BATCH_TOKENS = 512
"""Tokens of a batch on a CPU, for which a query waits at most: larger ones are no faster there (benchmarks/README.md)."""
LEVELS = ("debug", "info", "warning", "error")

log = logging.getLogger("taskvec.server")


class Model(NamedTuple):
    """What to load."""

    name: str
    device: list[str] | None
    dtype: str | None
    max_batch_tokens: int | None


class Running(NamedTuple):
    """How to run: seconds that stopping may take, the log, files for HTTPS."""

    stop_seconds: int
    log_format: Any
    log_level: str
    ssl_certfile: Path | None
    ssl_keyfile: Path | None


def settings(**given: Any) -> ServerSettings:
    """Settings from options, where given, and from the environment; ValueError in one sentence for a wrong one."""
    try:
        return ServerSettings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        wrong = error.errors(include_input=False)[0]
        name = "_".join(map(str, wrong["loc"][:1])) or "settings"
        raise ValueError(f"{name} (TASKVEC_{name.upper()}): {wrong['msg'].removeprefix('Value error, ')}") from None


def bind(host: str, port: int, settings: ServerSettings, insecure: bool) -> socket.socket:
    """A socket on the address, not listening yet; OSError in one sentence where it is in use."""
    check_host(host, settings, insecure)
    family, *_, address = _resolve(host, port)
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise OSError(f"cannot listen on {host}:{port} ({error.strerror}): choose another --port") from None
    return bound


def _resolve(host: str, port: int) -> Any:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise OSError(f"host {host} cannot be found ({error.strerror}): use an address of this machine") from None


def run(bound: socket.socket, model: Model, settings: ServerSettings, how: Running) -> None:
    """Load the model and serve until SIGTERM or Ctrl-C; requests that came before are answered."""
    if how.log_level not in LEVELS:
        raise ValueError(f"log level {how.log_level!r}: use {', '.join(LEVELS)}")
    _check_tls(how.ssl_certfile, how.ssl_keyfile)
    set_up(how.log_format, how.log_level)
    with bound:
        device = model.device[0] if model.device and len(model.device) == 1 else model.device
        with Encoder.from_pretrained(
            model.name, device=device, dtype=model.dtype, max_batch_tokens=model.max_batch_tokens or _batch_tokens(model.device)
        ) as encoder:
            config = uvicorn.Config(
                create_app(encoder, settings),
                log_config=None,
                access_log=False,
                server_header=False,
                http="h11",  # the other parser bounds no headers
                timeout_graceful_shutdown=how.stop_seconds,
                ssl_certfile=how.ssl_certfile,
                ssl_keyfile=how.ssl_keyfile,
            )
            keys = "with a key" if settings.api_keys else "without a key"
            log.info("%s on %s (%s), %s", encoder.model_id, encoder.device, encoder.dtype, keys)
            _Server(config).run(sockets=[bound])


def _check_tls(certfile: Path | None, keyfile: Path | None) -> None:
    if certfile is None:
        if keyfile is not None:
            raise ValueError("--ssl-keyfile needs --ssl-certfile, too")
        return
    for path in filter(None, (certfile, keyfile)):
        path.open("rb").close()  # its error names the file, ssl's does not
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certfile, keyfile)
    except ssl.SSLError as error:
        raise ValueError(f"{certfile} and {keyfile or 'it'} are no certificate with its key: {error}") from None


def _batch_tokens(devices: list[str] | None) -> int | None:
    chosen: Sequence[str | None] = devices or [None]
    kinds = {choose_device(device).type for device in chosen}
    return CPU_BATCH_TOKENS if "cpu" in kinds else None


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say where it listens once it does."""
        await super().startup(sockets)
        for bound in sockets or ():
            host, port = bound.getsockname()[:2]
            url = f"{'https' if self.config.is_ssl else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
            log.info("open %s or point a client at %s/v1", url, url)
