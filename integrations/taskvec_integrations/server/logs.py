"""The log on stderr: one line a request, as text or as JSON, without texts, keys or vectors."""

import logging
import sys
from datetime import UTC, datetime
from typing import Literal

import orjson


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts = getattr(record, "facts", {})
        pairs = " ".join(f"{name}={value}" for name, value in facts.items() if value not in ("", 0))
        return f"{super().format(record)} {pairs}".rstrip()


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": time, "level": record.levelname, "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return orjson.dumps({**line, **getattr(record, "facts", {})}).decode()


FORMATTERS: dict[str, logging.Formatter] = {
    "text": _TextFormatter("%(asctime)s %(levelname)s %(message)s"),
    "json": _JsonFormatter(),
}
LogFormat = Literal["text", "json"]


def configure_logging(log_format: LogFormat, level: str) -> None:
    """Send the log of taskvec and uvicorn to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FORMATTERS[log_format])
    for name in ("taskvec", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level.upper())
        logger.propagate = False
