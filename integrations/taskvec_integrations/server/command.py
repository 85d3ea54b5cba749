"""What ``taskvec serve`` does: bind first, so that a port in use is known before a model is loaded; then load, serve and stop."""

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
from taskvec_integrations.server.logs import LogFormat, configure_logging
from taskvec_integrations.server.settings import ServerSettings, check_host

CPU_BATCH_TOKENS = 512
"""Tokens of a batch on a CPU, and so what a query waits for at most: larger ones are no faster there (benchmarks/README.md)."""
LOG_LEVELS = ("debug", "info", "warning", "error")

log = logging.getLogger("taskvec.server")


class ModelOptions(NamedTuple):
    """Options of ``taskvec serve`` for loading the model, as `Encoder.from_pretrained` takes them."""

    model: str
    device: list[str] | None
    dtype: str | None
    max_batch_tokens: int | None

    def load(self) -> Encoder:
        """Load the model, with batches that suit a CPU unless `max_batch_tokens` says otherwise."""
        return Encoder.from_pretrained(
            self.model,
            device=self.device[0] if self.device and len(self.device) == 1 else self.device,
            dtype=self.dtype,
            max_batch_tokens=self.max_batch_tokens or _default_batch_tokens(self.device),
        )


class ProcessOptions(NamedTuple):
    """Options of ``taskvec serve`` for its process: the seconds that stopping may take, the log, the files for HTTPS."""

    stop_seconds: int
    log_format: LogFormat
    log_level: str
    ssl_certfile: Path | None
    ssl_keyfile: Path | None

    def check(self) -> None:
        """ValueError or OSError for a value that cannot be used."""
        if self.log_level not in LOG_LEVELS:
            raise ValueError(f"log level {self.log_level!r} is unknown: use {', '.join(LOG_LEVELS)}")
        if self.ssl_certfile is not None:
            _check_certificate(self.ssl_certfile, self.ssl_keyfile)
        elif self.ssl_keyfile is not None:
            raise ValueError(f"--ssl-keyfile {self.ssl_keyfile} needs a certificate: pass --ssl-certfile as well")


def read_settings(**options: Any) -> ServerSettings:
    """Settings from the options that are not None, and else from the environment; ValueError in one sentence for a wrong one."""
    try:
        return ServerSettings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        wrong = error.errors(include_input=False)[0]
        name = "_".join(map(str, wrong["loc"][:1])) or "settings"
        raise ValueError(f"{name} (TASKVEC_{name.upper()}): {wrong['msg'].removeprefix('Value error, ')}") from None


def bind(host: str, port: int, settings: ServerSettings, insecure: bool) -> socket.socket:
    """Bind a socket, which does not listen yet.

    Args:
        host: Name or address to listen on.
        port: The port, 0 for a free one.
        settings: Whether they hold a key is what counts.
        insecure: Allow an address that other machines can reach without a key.

    Raises:
        ValueError: The server would be open to other machines.
        OSError: The host is unknown or the port in use; the message is one sentence.
    """
    check_host(host, settings, insecure)
    family, *_, address = _resolve(host, port)
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise OSError(f"cannot listen on {host}:{port} ({error.strerror}): choose another --port") from None
    return listener


def _resolve(host: str, port: int) -> Any:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise OSError(f"host {host} cannot be found ({error.strerror}): use an address of this machine") from None


def run(listener: socket.socket, model_options: ModelOptions, settings: ServerSettings, process_options: ProcessOptions) -> None:
    """Load the model and serve until SIGTERM or Ctrl-C; requests that came before are answered."""
    process_options.check()
    configure_logging(process_options.log_format, process_options.log_level)
    with listener, model_options.load() as encoder:
        config = uvicorn.Config(
            create_app(encoder, settings),
            log_config=None,
            access_log=False,
            server_header=False,
            http="h11",  # the other parser does not limit headers
            timeout_graceful_shutdown=process_options.stop_seconds,
            ssl_certfile=process_options.ssl_certfile,
            ssl_keyfile=process_options.ssl_keyfile,
        )
        keys = "with a key" if settings.api_keys else "without a key"
        log.info("%s on %s (%s), %s", encoder.model_id, encoder.device, encoder.dtype, keys)
        _AnnouncingServer(config).run(sockets=[listener])


def _check_certificate(certfile: Path, keyfile: Path | None) -> None:
    for path in filter(None, (certfile, keyfile)):
        path.open("rb").close()  # its error names the file, the error of ssl does not
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certfile, keyfile)
    except ssl.SSLError as error:
        files = f"{certfile} and {keyfile} are" if keyfile else f"{certfile} is"
        raise ValueError(f"{files} not a certificate with its private key: {error}") from None


def _default_batch_tokens(devices: list[str] | None) -> int | None:
    chosen: Sequence[str | None] = devices or [None]
    kinds = {choose_device(device).type for device in chosen}
    return CPU_BATCH_TOKENS if "cpu" in kinds else None


class _AnnouncingServer(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Log the address once it listens."""
        await super().startup(sockets)
        for listener in sockets or ():
            host, port = listener.getsockname()[:2]
            url = f"{'https' if self.config.is_ssl else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
            log.info("open %s or point a client at %s/v1", url, url)
